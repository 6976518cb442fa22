//! AMQP 0-9-1 (RabbitMQ): each message is published to the configured exchange with the configured routing key, persistent,
//! and is safe when the broker has confirmed it. One that no queue takes is returned by the broker, and tried again.

use amqprs::callbacks::ChannelCallback;
use amqprs::channel::{BasicPublishArguments, Channel, ConfirmSelectArguments};
use amqprs::connection::{Connection, OpenConnectionArguments};
use amqprs::tls::TlsAdaptor;
use amqprs::{Ack, BasicProperties, Cancel, CloseChannel, DELIVERY_MODE_PERSISTENT, Nack, Return};
use async_trait::async_trait;
use tokio::sync::{Mutex, mpsc};
use tokio::time::timeout;

use super::{Address, Message, PATIENCE, Target, TargetError, required, text};
use crate::config::NotificationTarget;
use crate::wire::percent::percent_decode;

/// Longest exchange name and routing key, in bytes. (AMQP 0-9-1, `shortstr`.)
const LONGEST_NAME: usize = 255;

/// An AMQP broker.
pub struct Amqp {
    options: NotificationTarget,
    address: Address,
    virtual_host: String,
    exchange: String,
    routing_key: String,
    link: Mutex<Option<Link>>,
}

/// A connection with a channel in confirm mode.
struct Link {
    connection: Connection,
    channel: Channel,
    verdicts: mpsc::Receiver<Verdict>,
}

/// What the broker says of a message.
enum Verdict {
    Confirmed,
    Refused(&'static str),
}

impl Amqp {
    /// As `options` say; the URL's path is the virtual host, `/` by default.
    ///
    /// # Errors
    /// What cannot be used.
    pub fn new(options: &NotificationTarget) -> Result<Self, String> {
        let default_port = if options.url.starts_with("amqps") { 5671 } else { 5672 };
        let address = Address::parse(&options.url, default_port)?;
        let virtual_host = match address.path.as_str() {
            "" => "/".to_owned(),
            path => percent_decode(path, false).ok_or("the url's virtual host is not percent-encoded")?,
        };
        let routing_key = required(options.subject.as_ref(), "subject")?.clone();
        let exchange = options.exchange.clone().unwrap_or_default();
        if routing_key.len() > LONGEST_NAME || exchange.len() > LONGEST_NAME || virtual_host.len() > LONGEST_NAME {
            return Err(format!("names have at most {LONGEST_NAME} bytes"));
        }
        Ok(Self { options: options.clone(), address, virtual_host, exchange, routing_key, link: Mutex::default() })
    }

    async fn connect(&self) -> Result<Link, TargetError> {
        let failed = |error: &dyn std::fmt::Display| TargetError::of("the AMQP broker could not be reached", error);
        let name = self.options.username.as_deref().unwrap_or("guest");
        let password = self.options.password.as_ref().map_or_else(|| "guest".to_owned(), text);
        let mut arguments = OpenConnectionArguments::new(&self.address.host, self.address.port, name, &password);
        arguments.virtual_host(&self.virtual_host);
        if self.options.url.starts_with("amqps") {
            let adaptor = TlsAdaptor::without_client_auth(self.options.ca.as_deref(), self.address.host.clone());
            arguments.tls_adaptor(adaptor.map_err(|error| failed(&error))?);
        }
        let connection = Connection::open(&arguments).await.map_err(|error| failed(&error))?;
        let channel = connection.open_channel(None).await.map_err(|error| failed(&error))?;
        let (sender, verdicts) = mpsc::channel(4);
        channel.register_callback(Listener(sender)).await.map_err(|error| failed(&error))?;
        channel.confirm_select(ConfirmSelectArguments::default()).await.map_err(|error| failed(&error))?;
        Ok(Link { connection, channel, verdicts })
    }

    async fn publish(&self, link: &mut Link, message: Vec<u8>) -> Result<(), TargetError> {
        let mut properties = BasicProperties::default();
        properties.with_content_type("application/json").with_delivery_mode(DELIVERY_MODE_PERSISTENT);
        let mut arguments = BasicPublishArguments::new(&self.exchange, &self.routing_key);
        arguments.mandatory(true);
        let published = link.channel.basic_publish(properties.finish(), message, arguments).await;
        published.map_err(|error| TargetError::of("the message could not be sent", error))?;
        // One message at a time is under way: what is said is said of it. A returned one is confirmed as well, after that.
        let mut returned = None;
        loop {
            match (link.verdicts.recv().await, returned) {
                (Some(Verdict::Confirmed), None) => return Ok(()),
                (Some(Verdict::Refused(why)), _) if why == RETURNED => returned = Some(why),
                (Some(Verdict::Confirmed), Some(why)) | (Some(Verdict::Refused(why)), _) => {
                    return Err(TargetError::new(why));
                }
                (None, _) => return Err(TargetError::new("the AMQP channel was closed")),
            }
        }
    }
}

/// What is said of a message that no queue takes.
const RETURNED: &str = "no queue takes the message";

#[async_trait]
impl Target for Amqp {
    async fn send(&self, message: Message<'_>) -> Result<(), TargetError> {
        let mut kept = self.link.lock().await;
        let sending = async {
            let mut link = match kept.take() {
                Some(link) if link.connection.is_open() && link.channel.is_open() => link,
                _ => self.connect().await?,
            };
            self.publish(&mut link, message.body).await.map(|()| link)
        };
        let sent = timeout(PATIENCE, sending).await;
        let sent = sent.unwrap_or_else(|_| Err(TargetError::new("the AMQP broker did not answer in time")));
        *kept = Some(sent?);
        Ok(())
    }
}

/// Hears what the broker says of messages.
struct Listener(mpsc::Sender<Verdict>);

impl Listener {
    async fn say(&self, verdict: Verdict) {
        // Nobody may be listening any more, after a timeout.
        let _ = self.0.send(verdict).await;
    }
}

#[async_trait]
impl ChannelCallback for Listener {
    async fn close(&mut self, _: &Channel, _: CloseChannel) -> Result<(), amqprs::error::Error> {
        self.say(Verdict::Refused("the AMQP broker closed the channel")).await;
        Ok(())
    }

    async fn cancel(&mut self, _: &Channel, _: Cancel) -> Result<(), amqprs::error::Error> {
        Ok(())
    }

    async fn flow(&mut self, _: &Channel, active: bool) -> Result<bool, amqprs::error::Error> {
        Ok(active)
    }

    async fn publish_ack(&mut self, _: &Channel, _: Ack) {
        self.say(Verdict::Confirmed).await;
    }

    async fn publish_nack(&mut self, _: &Channel, _: Nack) {
        self.say(Verdict::Refused("the AMQP broker could not take the message")).await;
    }

    async fn publish_return(&mut self, _: &Channel, _: Return, _: BasicProperties, _: Vec<u8>) {
        self.say(Verdict::Refused(RETURNED)).await;
    }
}
