//! A coordinator whose site was restored elsewhere stops for good.
//!
//! Guarantees: nothing but the CA's signature over a later incarnation of this site ends it, so
//! that no agent can by its word alone; the note that keeps it from starting again is on disk
//! before anything ends.
//!
//! Absent: looking for such a proof. Agents show it, who follow the later incarnation or hear, by
//! gossip, of others that do.

use hamesh_proto::files::{SECRET, write_atomic};
use hamesh_proto::incarnation;

use crate::core::Core;

impl Core {
    /// What agents show to other coordinators; none for a site that was never restored, for nothing
    /// is earlier.
    pub fn proof(&self, incarnation: u64) -> Vec<u8> {
        match incarnation {
            0 | 1 => Vec::new(),
            _ => incarnation::prove(self.authority.ca(), &self.site, incarnation),
        }
    }

    /// An agent says that the site has this incarnation: ends this coordinator if it is a later one
    /// and proven.
    pub fn hear_of(&self, incarnation: u64, proof: &[u8]) {
        let own = self.world().desired.record.incarnation;
        let proven = || incarnation::is_proven(self.authority.ca(), &self.site, incarnation, proof);
        if incarnation <= own || *self.outdated.borrow() || !proven() {
            return;
        }
        let path = self.dirs.outdated();
        let text = format!(
            "The site {} was restored from a backup elsewhere, as incarnation {incarnation}. This \
             coordinator, of incarnation {own}, stopped for good. Delete {} to make the machine \
             blank.\n",
            self.site,
            self.dirs.state().display()
        );
        // Without the note it is told again after its next start.
        if let Err(error) = write_atomic(&path, text.as_bytes(), SECRET) {
            tracing::error!(%error, path = %path.display(), "cannot keep that it is outdated");
        }
        tracing::error!(
            incarnation,
            own,
            "the site was restored elsewhere: this coordinator stops for good"
        );
        self.outdated.send_replace(true);
    }

    /// Resolves when this coordinator has to stop for good.
    pub async fn is_outdated(&self) {
        let mut outdated = self.outdated.subscribe();
        if outdated.wait_for(|outdated| *outdated).await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}
