//! MQTT 3.1.1: each message is published under the configured topic with QoS 1, and is safe when the broker has
//! acknowledged it.

use std::time::Duration;

use async_trait::async_trait;
use rumqttc::{AsyncClient, Event, EventLoop, MqttOptions, Packet, QoS};
use tokio::sync::Mutex;
use tokio::time::timeout;

use super::{Address, Message, PATIENCE, Target, TargetError, required, text};
use crate::config::NotificationTarget;

/// Largest message, in bytes: a key of 1 024 bytes, percent-encoded, and all around it.
const LARGEST: usize = 64 * 1024;

/// An MQTT broker.
pub struct Mqtt {
    options: MqttOptions,
    topic: String,
    connection: Mutex<Option<Connection>>,
}

struct Connection {
    client: AsyncClient,
    events: EventLoop,
}

impl Mqtt {
    /// As `options` say.
    ///
    /// # Errors
    /// What cannot be used.
    pub fn new(options: &NotificationTarget) -> Result<Self, String> {
        let address = Address::parse(&options.url, 1883)?;
        let topic = required(options.subject.as_ref(), "subject")?.clone();
        if topic.is_empty() || topic.contains(['+', '#', '\0']) {
            return Err("subject must be a topic without wildcards".to_owned());
        }
        // The broker names the session: two servers must not take each other's.
        let mut mqtt = MqttOptions::new("", address.host, address.port);
        // The connection is looked after only while a message is sent: idle, it is left alone.
        mqtt.set_keep_alive(Duration::ZERO).set_clean_session(true).set_max_packet_size(LARGEST, LARGEST);
        if let (Some(name), Some(password)) = (&options.username, &options.password) {
            mqtt.set_credentials(name, text(password));
        }
        Ok(Self { options: mqtt, topic, connection: Mutex::default() })
    }

    async fn publish(connection: &mut Connection, topic: &str, message: Vec<u8>) -> Result<(), TargetError> {
        let publishing = connection.client.try_publish(topic, QoS::AtLeastOnce, false, message);
        publishing.map_err(|error| TargetError::of("the message could not be sent", error))?;
        loop {
            match connection.events.poll().await {
                Ok(Event::Incoming(Packet::PubAck(_))) => return Ok(()),
                Ok(_) => {}
                Err(error) => return Err(TargetError::of("the MQTT broker did not take the message", error)),
            }
        }
    }
}

#[async_trait]
impl Target for Mqtt {
    async fn send(&self, message: Message<'_>) -> Result<(), TargetError> {
        let mut kept = self.connection.lock().await;
        let sending = async {
            // A broker may have dropped an idle connection; then a new one is tried at once.
            if let Some(mut connection) = kept.take()
                && Self::publish(&mut connection, &self.topic, message.body.clone()).await.is_ok()
            {
                return Ok(connection);
            }
            let (client, events) = AsyncClient::new(self.options.clone(), 1);
            let mut connection = Connection { client, events };
            Self::publish(&mut connection, &self.topic, message.body).await.map(|()| connection)
        };
        let sent = timeout(PATIENCE, sending).await;
        let sent = sent.unwrap_or_else(|_| Err(TargetError::new("the MQTT broker did not answer in time")));
        *kept = Some(sent?);
        Ok(())
    }
}
