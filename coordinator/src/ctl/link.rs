//! The way to the coordinator that leads.
//!
//! A request is sent once and to one coordinator only; what is asked of all is who leads. What
//! fails before that, while connecting, is told for every address; what fails after it is told as
//! such, because something may have been changed. The operator's certificate is renewed in passing
//! once two thirds of its life are over.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use hamesh_proto::credentials::{Credentials, LiveCredentials, PrivateKey};
use hamesh_proto::tls::ConnectError;
use hamesh_proto::unix_time::unix_ms;
use hamesh_proto::v1;
use hamesh_proto::v1::claims_client::ClaimsClient;
use hamesh_proto::v1::coordinators_client::CoordinatorsClient;
use hamesh_proto::v1::databases_client::DatabasesClient;
use hamesh_proto::v1::operators_client::OperatorsClient;
use hamesh_proto::v1::recovery_client::RecoveryClient;
use tonic::transport::Channel;

use super::context::Context;
use super::failure::{Failure, chain};
use super::leader::{Found, leader};
use super::time::{Moment, span};

/// How long a coordinator may take for one answer; the longest are a few writes to the store.
const ANSWER: Duration = Duration::from_secs(30);
/// The largest answer: the status of 200 nodes is under 1 MiB.
const LARGEST_ANSWER: usize = 16 << 20;

/// The Operators service of one coordinator.
pub type Client = OperatorsClient<Channel>;

/// A connection to a coordinator, and the context it was made from.
pub struct Link {
    /// The service.
    pub client: Client,
    /// The service for claims.
    pub claims: ClaimsClient<Channel>,
    /// The service for coordinators.
    pub coordinators: CoordinatorsClient<Channel>,
    /// The service for databases.
    pub databases: DatabasesClient<Channel>,
    /// The service of a coordinator that recovers its site.
    pub recovery: RecoveryClient<Channel>,
    live: LiveCredentials,
    file: PathBuf,
    context: Context,
}

impl Link {
    /// Connects to the leader among the coordinators of the context in `file`. `now` decides
    /// whether the certificate is to be renewed.
    pub async fn open(file: PathBuf, now: SystemTime) -> Result<Link, Failure> {
        let context = Context::load(&file)?;
        let credentials = &context.credentials;
        let now_ms = unix_ms(now);
        if credentials.expired(now) {
            let past = now_ms.saturating_sub(credentials.not_after_unix_ms());
            let operator = credentials.spiffe_id().principal.path();
            return Err(Failure::Expired {
                operator,
                ago: span(past),
            });
        }
        let live = LiveCredentials::new(credentials.clone());
        let found = leader(&context.coordinators, &live).await?;
        let channel = found.channel.clone();
        let claims = ClaimsClient::new(channel.clone());
        let coordinators = CoordinatorsClient::new(channel.clone());
        let databases = DatabasesClient::new(channel.clone());
        let recovery = RecoveryClient::new(channel.clone());
        let mut link = Link {
            coordinators,
            client: client(channel),
            databases: databases.max_decoding_message_size(LARGEST_ANSWER),
            recovery: recovery.max_decoding_message_size(LARGEST_ANSWER),
            claims: claims.max_decoding_message_size(LARGEST_ANSWER),
            live,
            file,
            context,
        };
        link.learn(&found);
        if now_ms >= link.context.credentials.renew_at_unix_ms() {
            link.renew(Moment(now_ms)).await;
        }
        Ok(link)
    }

    /// The context in use.
    pub fn context(&self) -> &Context {
        &self.context
    }

    /// Whether the certificate of this connection has run out.
    pub fn expired(&self, now: SystemTime) -> bool {
        self.context.credentials.expired(now)
    }

    /// Whether the connection was lost, so that it is worth opening another.
    pub fn lost(status: &tonic::Status) -> bool {
        use tonic::Code;
        let lost = matches!(
            status.code(),
            Code::Unavailable | Code::Unknown | Code::Cancelled
        );
        lost || ConnectError::find(status).is_some()
    }

    /// Keeps where coordinators answer, for the day when those known are gone. Whoever came by
    /// another way than the site's own addresses has no use for them.
    fn learn(&mut self, found: &Found) {
        let known = &mut self.context.coordinators;
        if found.coordinators.contains(&found.address) && *known != found.coordinators {
            known.clone_from(&found.coordinators);
            // It is told again with the next command.
            let _ = self.context.save(&self.file);
        }
    }

    /// Renews the certificate. The old one is good for a while yet: a renewal that fails is told
    /// and tried again with the next command.
    async fn renew(&mut self, now: Moment) {
        if let Err(reason) = self.try_renew().await {
            let left = Moment(self.context.credentials.not_after_unix_ms()).left(now);
            eprintln!("warning: your certificate expires in {left} and was not renewed: {reason}");
        }
    }

    async fn try_renew(&mut self) -> Result<(), String> {
        let key = PrivateKey::generate();
        let message = v1::RenewCertificateRequest {
            csr_der: key.csr_der(),
        };
        let answer = self.client.renew_operator(request(message)).await;
        let bundle = answer
            .map_err(|status| status.message().to_owned())?
            .into_inner();
        let renewed = Credentials::new(key, bundle.certificate_der, bundle.ca_der)
            .map_err(|error| chain(&error))?;
        self.live
            .replace(renewed.clone())
            .map_err(|error| chain(&error))?;
        self.context.credentials = renewed;
        self.context
            .save(&self.file)
            .map_err(|failure| failure.to_string())
    }
}

/// `message` with the time that its answer may take.
pub fn request<T>(message: T) -> tonic::Request<T> {
    request_within(message, ANSWER)
}

/// The same, for an answer that waits until something was done on a node.
pub fn request_within<T>(message: T, time: Duration) -> tonic::Request<T> {
    let mut request = tonic::Request::new(message);
    request.set_timeout(time);
    request
}

/// A connection to the leader, or why each of the addresses did not lead to it. A
/// coordinator that refuses our certificate speaks for the site: that is told before all else.
pub async fn first_of(addresses: &[SocketAddr], live: &LiveCredentials) -> Result<Client, Failure> {
    Ok(client(leader(addresses, live).await?.channel))
}

fn client(channel: Channel) -> Client {
    Client::new(channel).max_decoding_message_size(LARGEST_ANSWER)
}
