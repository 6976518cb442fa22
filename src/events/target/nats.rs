//! NATS: each message is published under the configured subject; with `jetstream`, to a stream that acknowledges it.

use async_nats::{Client, ConnectOptions, jetstream};
use async_trait::async_trait;
use tokio::sync::Mutex;
use tokio::time::timeout;

use super::{Address, Message, PATIENCE, Target, TargetError, required, text};
use crate::config::NotificationTarget;

/// A NATS server, or a cluster of them.
pub struct Nats {
    options: NotificationTarget,
    subject: String,
    /// The connection, once it was needed. It mends itself.
    client: Mutex<Option<Client>>,
}

impl Nats {
    /// As `options` say.
    ///
    /// # Errors
    /// What cannot be used.
    pub fn new(options: &NotificationTarget) -> Result<Self, String> {
        Address::parse(&options.url, 4222)?;
        let subject = required(options.subject.as_ref(), "subject")?.clone();
        if subject.is_empty() || subject.split('.').any(|token| token.is_empty() || token.contains([' ', '*', '>'])) {
            return Err("subject must be tokens between dots, without wildcards".to_owned());
        }
        Ok(Self { options: options.clone(), subject, client: Mutex::default() })
    }

    async fn client(&self) -> Result<Client, TargetError> {
        let mut client = self.client.lock().await;
        if let Some(client) = &*client {
            return Ok(client.clone());
        }
        let mut options = ConnectOptions::new().name("strongroom");
        if let (Some(name), Some(password)) = (&self.options.username, &self.options.password) {
            options = options.user_and_password(name.clone(), text(password));
        }
        if let Some(token) = &self.options.token {
            options = options.token(text(token));
        }
        if let Some(ca) = &self.options.ca {
            options = options.add_root_certificates(ca.clone());
        }
        let connecting = options.require_tls(self.options.url.starts_with("tls://")).connect(&self.options.url);
        let connected = connecting.await.map_err(|error| TargetError::of("NATS could not be reached", error))?;
        Ok(client.insert(connected).clone())
    }

    async fn publish(&self, message: Vec<u8>) -> Result<(), TargetError> {
        let client = self.client().await?;
        if self.options.jetstream {
            let publishing = jetstream::new(client).publish(self.subject.clone(), message.into()).await;
            let acknowledged = publishing.map_err(|error| TargetError::of("NATS did not take the message", error))?;
            acknowledged.await.map_err(|error| TargetError::of("JetStream did not take the message", error))?;
            return Ok(());
        }
        let publishing = client.publish(self.subject.clone(), message.into()).await;
        publishing.map_err(|error| TargetError::of("NATS did not take the message", error))?;
        client.flush().await.map_err(|error| TargetError::of("NATS did not take the message", error))
    }
}

#[async_trait]
impl Target for Nats {
    async fn send(&self, message: Message<'_>) -> Result<(), TargetError> {
        let sent = timeout(PATIENCE, self.publish(message.body)).await;
        sent.unwrap_or_else(|_| Err(TargetError::new("NATS did not answer in time")))
    }
}
