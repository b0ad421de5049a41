//! More than one coordinator on one store.

use std::net::SocketAddr;

use hamesh_proto::credentials::{Credentials, LiveCredentials, PrivateKey};
use hamesh_proto::tls::{Expect, channel};
use hamesh_proto::v1::coordinators_client::CoordinatorsClient;
use tokio::task::JoinHandle;
use tonic::transport::Channel;

use super::{TestSite, listeners, name, parts};
use crate::config::{Config, Dirs};
use crate::server::{Running, start};

impl TestSite {
    /// Starts another coordinator on the same store, on this node; gives where it answers, and what
    /// it is once it leads.
    pub async fn second(&self, node: &str) -> (SocketAddr, JoinHandle<Running>) {
        let (ours, node) = (self.dirs(), name(node));
        let dirs = Dirs::under(self.directory.path().join(node.as_str()));
        std::fs::create_dir(dirs.state()).expect("a directory");
        for (from, to) in [(ours.ca(), dirs.ca()), (ours.seal_key(), dirs.seal_key())] {
            std::fs::copy(from, to).expect("copied");
        }
        let core = &self.running.core;
        let site = &core.world().desired.site;
        let key = PrivateKey::generate();
        let issued = core
            .authority
            .coordinator(site, &node, &key.csr_der(), self.clock.now())
            .expect("a certificate");
        let ca = core.authority.ca().certificate_der().to_vec();
        let identity = Credentials::new(key, issued.der, vec![ca]).expect("an identity");
        identity.save(&dirs.identity()).expect("saved");
        let mut config = Config::load(&ours).expect("a configuration");
        config.node = node;
        let listeners = listeners().await;
        let api = listeners.api.local_addr().expect("an address");
        let parts = parts(dirs, config, &self.store, &self.clock, listeners);
        let leads = tokio::spawn(async { start(parts).await.expect("the coordinator starts") });
        (api, leads)
    }

    pub fn coordinators(
        &self,
        at: SocketAddr,
        who: &LiveCredentials,
    ) -> CoordinatorsClient<Channel> {
        CoordinatorsClient::new(channel(at, who, Expect::Coordinator))
    }
}
