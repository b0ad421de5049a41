//! Certificates of the site's CA for services of this node.
//!
//! Guarantees: a key is made here and never leaves; a certificate that is believed belongs to the
//! key beside it: its note is taken away before the first of both files changes and written after
//! the last.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use hamesh_proto::credentials::{LiveCredentials, PrivateKey};
use hamesh_proto::leader::Elsewhere;
use hamesh_proto::pem_text;
use hamesh_proto::tls::{Expect, channel};
use hamesh_proto::unix_time::unix_ms;
use hamesh_proto::v1;
use hamesh_proto::v1::agents_client::AgentsClient;
use hamesh_roles::engine::{Certificate, Digest, Seen, State};
use tokio::time::timeout;
use x509_parser::prelude::{FromDer as _, X509Certificate};

use super::files::{Draft, absent_or_unknown, remove as remove_file};
use super::owners;
use crate::apply::decide::Refusal;
use crate::apply::store::{Issued, Store};
use crate::apply::trouble::Trouble;
use crate::held::describe;
use crate::session::words;
use crate::state::StateDir;

/// How long one coordinator may take.
const PATIENCE: Duration = Duration::from_secs(15);
/// How many coordinators are asked in all: each may point to another.
const ASKED: usize = 8;
const PUBLIC: u32 = 0o644;

/// How certificates come.
#[derive(Clone, Debug)]
pub struct Certificates {
    /// Where notes are kept.
    pub store: Store,
    /// Where the agent keeps the node's identity.
    pub identity: PathBuf,
}

impl Certificates {
    /// How one is now.
    pub fn look(&self, certificate: &Certificate) -> Seen {
        let content = match fs::read(&certificate.certificate) {
            Ok(bytes) => Digest::of(bytes),
            Err(error) => return absent_or_unknown(&error),
        };
        let key = match fs::symlink_metadata(&certificate.key) {
            Ok(metadata) => metadata,
            Err(error) => return absent_or_unknown(&error),
        };
        let note = match self.store.certificates() {
            Ok(mut notes) => notes.remove(&certificate.name),
            Err(error) => return Seen::Unknown(describe(&error)),
        };
        let Some(note) = note.filter(|note| note.content == content) else {
            return Seen::Absent;
        };
        let owner = (certificate.owner.clone(), certificate.group.clone());
        let kept = owners::names(&key) == owner && owners::mode(&key) == key_mode(certificate);
        Seen::Present(State::Certificate {
            profile: match kept {
                true => note.profile,
                // Somebody else may have read the key.
                false => Digest::from("the key's mode was changed".to_owned()),
            },
            content,
            due: unix_ms(SystemTime::now()) >= note.due_unix_ms,
        })
    }

    /// Has a new one issued for a new key.
    ///
    /// # Errors
    /// [`Trouble`]; the old one is in place unless a file could not be written.
    pub async fn make(
        &self,
        certificate: &Certificate,
        coordinators: &[SocketAddr],
    ) -> Result<(), Trouble> {
        let name = &certificate.name;
        let key = PrivateKey::generate();
        let asked = v1::IssueCertificateRequest {
            name: name.clone(),
            csr_der: key.csr_der(),
        };
        let bundle = self.ask(asked, coordinators).await;
        let bundle = bundle.map_err(|why| Trouble::plain(format!("certificate {name}: {why}")))?;
        let (from, until) = life(&bundle.certificate_der, &key)
            .ok_or_else(|| Trouble::plain(format!("certificate {name}: it is of no use")))?;
        let ders = std::iter::once(&bundle.certificate_der).chain(&bundle.ca_der);
        let text: String = ders.map(|der| pem_text::certificate(der)).collect();
        self.note(name, None)?;
        let (owner, group) = (&certificate.owner, &certificate.group);
        let (at, key_at) = (&certificate.certificate, &certificate.key);
        let (at, key_at) = (Path::new(at), Path::new(key_at));
        let draft = Draft::write(key_at, owner, group, key_mode(certificate), &*key.to_pem())?;
        draft.put_in_place(key_at)?;
        Draft::write(at, owner, group, PUBLIC, &text)?.put_in_place(at)?;
        self.note(
            name,
            Some(Issued {
                profile: certificate.profile(),
                content: Digest::of(text),
                due_unix_ms: from + until.saturating_sub(from) / 3 * 2,
                expires_unix_ms: until,
            }),
        )
    }

    /// Takes both files away.
    ///
    /// # Errors
    /// [`Trouble`].
    pub fn remove(&self, certificate: &Certificate) -> Result<(), Trouble> {
        remove_file(Path::new(&certificate.key))?;
        remove_file(Path::new(&certificate.certificate))?;
        self.note(&certificate.name, None)
    }

    fn note(&self, name: &str, note: Option<Issued>) -> Result<(), Trouble> {
        let noted = self.store.note_certificate(name, note);
        noted.map_err(|error| Trouble::of(format!("certificate {name}"), &error))
    }

    /// Asks one coordinator after the other, and whom they name as the leader first.
    async fn ask(
        &self,
        request: v1::IssueCertificateRequest,
        coordinators: &[SocketAddr],
    ) -> Result<v1::CertificateBundle, String> {
        let state = StateDir::open(&self.identity).map_err(|error| describe(&error))?;
        let identity = state.identity().map_err(|error| describe(&error))?;
        let identity = identity.ok_or_else(|| "this machine is not enrolled".to_owned())?;
        let anchor = self.store.anchor().map_err(|error| describe(&error))?;
        let anchor = anchor.ok_or_else(|| Refusal::Unanchored.to_string())?;
        let identity = anchor.holding(identity).map_err(|error| describe(&error))?;
        let live = LiveCredentials::new(identity);
        let mut waiting: Vec<SocketAddr> = coordinators.iter().rev().copied().collect();
        let mut last = "no coordinator is known".to_owned();
        for _ in 0..ASKED {
            let Some(address) = waiting.pop() else {
                break;
            };
            let mut client = AgentsClient::new(channel(address, &live, Expect::Coordinator));
            let asked = client.issue_certificate(request.clone());
            match timeout(PATIENCE, asked).await {
                Ok(Ok(answer)) => return Ok(answer.into_inner()),
                Ok(Err(status)) => {
                    if let Some(Elsewhere::At(leader)) = Elsewhere::of(&status) {
                        waiting.push(leader.api);
                    }
                    last = format!("{address}: {}", words(&status));
                }
                Err(_) => last = format!("{address}: no answer within {PATIENCE:?}"),
            }
        }
        Err(last)
    }
}

fn key_mode(certificate: &Certificate) -> u32 {
    match certificate.group.as_str() {
        "root" => 0o600,
        _ => 0o640,
    }
}

/// From when until when it is valid, in Unix milliseconds; `None`: it is not of this key.
fn life(der: &[u8], key: &PrivateKey) -> Option<(u64, u64)> {
    let (_, certificate) = X509Certificate::from_der(der).ok()?;
    let public = &certificate.public_key().subject_public_key.data;
    if public.as_ref() != key.public_key() {
        return None;
    }
    let ms = |seconds: i64| u64::try_from(seconds).ok()?.checked_mul(1000);
    let validity = certificate.validity();
    Some((
        ms(validity.not_before.timestamp())?,
        ms(validity.not_after.timestamp())?,
    ))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn a_certificate_is_believed_only_with_its_key_and_its_note() {
        let root = tempfile::tempdir().expect("a folder");
        let store = Store::open(&root.path().join("state"), &root.path().join("run"));
        let certificates = Certificates {
            store: store.expect("folders"),
            identity: root.path().join("identity"),
        };
        let place = |name: &str| root.path().join(name).display().to_string();
        let (owner, group) = owners::names(&fs::metadata(root.path()).expect("a folder"));
        let wanted = Certificate {
            name: "edge".to_owned(),
            certificate: place("edge.pem"),
            key: place("edge.key"),
            owner: owner.clone(),
            group: group.clone(),
            dns: BTreeSet::from(["www".to_owned()]),
            ips: BTreeSet::new(),
            issue: 1,
            live: None,
        };
        let write = |path: &str, mode, text: &str| {
            let path = Path::new(path);
            let draft = Draft::write(path, &owner, &group, mode, text).expect("written");
            draft.put_in_place(path).expect("put in place");
        };
        write(&wanted.certificate, PUBLIC, "certificate");
        write(&wanted.key, key_mode(&wanted), "key");
        assert_eq!(certificates.look(&wanted), Seen::Absent, "nobody noted it");
        let due = |due_unix_ms| Issued {
            profile: wanted.profile(),
            content: Digest::of("certificate"),
            due_unix_ms,
            expires_unix_ms: u64::MAX,
        };
        for (due_unix_ms, is_due) in [(u64::MAX, false), (1, true)] {
            certificates
                .note("edge", Some(due(due_unix_ms)))
                .expect("noted");
            let state = State::Certificate {
                profile: wanted.profile(),
                content: Digest::of("certificate"),
                due: is_due,
            };
            assert_eq!(certificates.look(&wanted), Seen::Present(state));
        }
        write(&wanted.certificate, PUBLIC, "another");
        assert_eq!(certificates.look(&wanted), Seen::Absent);
        certificates.remove(&wanted).expect("removed");
        assert!(!Path::new(&wanted.key).exists());
    }
}
