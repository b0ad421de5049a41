//! The way to the etcd of the databases: the member on this node, whoever leads there.
//!
//! Guarantees: what is read is linearizable, as of after the question was sent; a leader key is
//! removed only as it was read, by revision and lease, and with it its owner is told not to lead.
//! Both have a deadline. A removal that is not answered may have happened.

use std::time::Duration;

use hamesh_proto::credentials::LiveCredentials;
use hamesh_proto::etcd as pb;
use hamesh_proto::etcd::compare::{CompareResult, CompareTarget, TargetUnion};
use hamesh_proto::etcd::kv_client::KvClient;
use hamesh_proto::etcd::request_op::Request as Op;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity};

use super::view::{Leader, View, prefix};

/// Where the member on this node answers: by its certificate, too.
const URL: &str = "https://127.0.0.1:2379";
/// How long an answer may take. An election takes half a second.
const PATIENCE: Duration = Duration::from_secs(2);

/// See the module.
#[derive(Debug)]
pub struct Etcd {
    credentials: LiveCredentials,
    prefix: String,
    /// The connection, and the serial number of the certificate that it was made with.
    link: Option<(String, Channel)>,
}

impl Etcd {
    /// Connects at the first question.
    pub fn new(credentials: LiveCredentials, scope: &str) -> Self {
        Self {
            credentials,
            prefix: prefix(scope),
            link: None,
        }
    }

    /// The cluster as Patroni sees it.
    ///
    /// # Errors
    /// In words.
    pub async fn view(&mut self) -> Result<View, String> {
        let mut range_end = self.prefix.clone().into_bytes();
        // The slash at its end plus one: all keys with this prefix.
        *range_end.last_mut().expect("it ends with a slash") += 1;
        let request = pb::RangeRequest {
            key: self.prefix.clone().into_bytes(),
            range_end,
            ..pb::RangeRequest::default()
        };
        let mut kv = self.kv()?;
        let answer = within(kv.range(request)).await;
        if answer.is_err() {
            // The next one trusts the CAs of then.
            self.link = None;
        }
        Ok(View::read(&self.prefix, answer?.kvs))
    }

    /// Removes the leader key as it was read, and tells its owner not to lead: others then need
    /// not wait for it to answer. Whether it was as it was read.
    ///
    /// # Errors
    /// In words; it may have happened.
    pub async fn remove(&mut self, leader: &Leader, view: &View) -> Result<bool, String> {
        let key = format!("{}leader", self.prefix).into_bytes();
        let mut compare = vec![
            equal(
                &key,
                CompareTarget::Mod,
                TargetUnion::ModRevision(leader.revision),
            ),
            equal(&key, CompareTarget::Lease, TargetUnion::Lease(leader.lease)),
        ];
        let mut success = vec![op(Op::RequestDeleteRange(pb::DeleteRangeRequest {
            key: key.clone(),
            range_end: Vec::new(),
        }))];
        if let Some(member) = view.members.get(&leader.name) {
            let key = format!("{}members/{}", self.prefix, leader.name).into_bytes();
            let target = TargetUnion::ModRevision(member.revision);
            compare.push(equal(&key, CompareTarget::Mod, target));
            success.push(op(Op::RequestPut(pb::PutRequest {
                key,
                value: member.told_not_to_lead().to_string().into_bytes(),
                lease: member.lease,
            })));
        }
        let request = pb::TxnRequest {
            compare,
            success,
            failure: Vec::new(),
        };
        let mut kv = self.kv()?;
        Ok(within(kv.txn(request)).await?.succeeded)
    }

    fn kv(&mut self) -> Result<KvClient<Channel>, String> {
        let own = self.credentials.current();
        let fresh = |(serial, _): &&(String, Channel)| serial == own.serial();
        let channel = match self.link.as_ref().filter(fresh) {
            Some((_, channel)) => channel.clone(),
            None => {
                let pem = own.to_pem();
                let tls = ClientTlsConfig::new()
                    .ca_certificate(Certificate::from_pem(pem.as_bytes()))
                    .identity(Identity::from_pem(pem.as_bytes(), pem.as_bytes()));
                let endpoint = Endpoint::from_static(URL)
                    .tls_config(tls)
                    .map_err(|error| format!("{error:?}"))?
                    .connect_timeout(PATIENCE);
                let channel = endpoint.connect_lazy();
                self.link = Some((own.serial().to_owned(), channel.clone()));
                channel
            }
        };
        Ok(KvClient::new(channel))
    }
}

fn equal(key: &[u8], target: CompareTarget, value: TargetUnion) -> pb::Compare {
    pb::Compare {
        result: CompareResult::Equal.into(),
        target: target.into(),
        key: key.to_vec(),
        target_union: Some(value),
    }
}

fn op(request: Op) -> pb::RequestOp {
    let request = Some(request);
    pb::RequestOp { request }
}

async fn within<T>(
    call: impl Future<Output = Result<tonic::Response<T>, tonic::Status>>,
) -> Result<T, String> {
    match tokio::time::timeout(PATIENCE, call).await {
        Ok(Ok(answer)) => Ok(answer.into_inner()),
        Ok(Err(status)) => Err(format!("{}: {}", status.code(), status.message())),
        Err(_) => Err(format!("no answer within {PATIENCE:?}")),
    }
}
