//! What a node can be made to have. A resource says how things are to be, never how to get there.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::{Deserialize, Serialize};

use super::digest::Digest;

/// One thing that a node is to have.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Resource {
    /// A Debian package.
    Package(Package),
    /// A kernel module, loaded now and at each boot.
    Module {
        /// Its name: `nf_conntrack`.
        name: String,
    },
    /// A kernel setting, now and at each boot.
    Sysctl {
        /// `net.ipv4.ip_forward`
        key: String,
        /// `0`
        value: String,
    },
    /// A mounted file system, now and at each boot.
    Mount(Mount),
    /// A system user.
    User(User),
    /// A directory.
    Directory(Directory),
    /// A file.
    File(File),
    /// A key of the node's own, and a certificate of the site's CA for it.
    Certificate(Certificate),
    /// A table of nftables.
    Table(Table),
    /// A command for what none of the others can say.
    Command(Command),
    /// A unit of systemd.
    Unit(Unit),
}

/// Names a resource of a node: `file /etc/haproxy/haproxy.cfg`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ResourceId(String);

/// What files and certificates hold.
pub type Contents = BTreeMap<ResourceId, Digest>;

/// A Debian package.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Package {
    /// Its name.
    pub name: String,
    /// Exactly this version, kept at it; `None`: the one that apt chooses, once.
    pub version: Option<String>,
}

/// A mounted file system.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mount {
    /// The directory on which it is mounted.
    pub path: String,
    /// What is mounted: a device, or what `fstype` takes instead.
    pub source: String,
    /// `ext4`, `tmpfs`
    pub fstype: String,
    /// As fstab(5) has them: `noatime,nodev`.
    pub options: String,
}

/// A system user, with a group of the same name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct User {
    /// Its name.
    pub name: String,
    /// Its home, which is not made.
    pub home: String,
    /// Further groups that it is in.
    pub groups: BTreeSet<String>,
}

/// A directory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Directory {
    /// Its whole path.
    pub path: String,
    /// `root`
    pub owner: String,
    /// `root`
    pub group: String,
    /// Permission bits.
    pub mode: u32,
    /// Whether it holds data, which outlives the role unless an operator says otherwise.
    pub data: bool,
}

/// A file, always whole: the old content or the new.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct File {
    /// Its whole path.
    pub path: String,
    /// `root`
    pub owner: String,
    /// `root`
    pub group: String,
    /// Permission bits.
    pub mode: u32,
    /// What it holds, without the line that says who wrote it.
    pub content: Content,
    /// What begins a comment in it: `#`. The executor then writes a first line that says that the
    /// file is generated, by which version and from which assignment; that line is no difference.
    /// Empty: it has no comments.
    pub comment: String,
    /// The program that must accept it before it replaces the old one; `{}` in a word is where
    /// the new content is. Empty: none.
    pub validate: Vec<String>,
    /// Who takes it up while it runs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub live: Option<Live>,
}

/// What a file holds.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Content {
    /// The text.
    pub text: String,
    /// Whether it is a secret: never shown, logged or compared in words.
    pub secret: bool,
}

/// A key that never leaves the node, and a certificate of the site's CA for it. Both files are
/// there or neither is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Certificate {
    /// Names it on this node: `edge`.
    pub name: String,
    /// The certificate followed by the CA's: PEM.
    pub certificate: String,
    /// The private key: PEM, mode 0600 (0640 with a group other than root).
    pub key: String,
    /// Who owns both files.
    pub owner: String,
    /// Whose group both files are of.
    pub group: String,
    /// The names that it certifies.
    pub dns: BTreeSet<String>,
    /// The addresses that it certifies.
    pub ips: BTreeSet<std::net::IpAddr>,
    /// Rises when the key is to be made anew.
    pub issue: u64,
    /// Who takes it up while it runs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub live: Option<Live>,
}

/// A program that is handed a certificate while it runs, in place of a reload: HAProxy, by its
/// runtime API. Whenever it starts it reads the file, which is therefore written first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Live {
    /// Its unit, which reads the file.
    pub unit: String,
    /// The socket at which it listens.
    pub socket: String,
    /// Whether it also trusts the CAs in the file: then it is handed certificates of the same only.
    pub trusts: bool,
}

/// A table of nftables, loaded as one transaction.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Table {
    /// `inet`
    pub family: String,
    /// `hamesh_firewall`
    pub name: String,
    /// `table inet hamesh_firewall { ... }`, as `nft -f` reads it.
    pub rules: String,
    /// Where the rules are kept for the next boot; written once they have been confirmed.
    pub path: String,
}

/// A command that is run while its guard fails.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Command {
    /// Names it on this node.
    pub name: String,
    /// The program and its arguments.
    pub argv: Vec<String>,
    /// Exits with 0 if the command need not run.
    pub unless: Vec<String>,
    /// Undoes it when the role goes. Empty: nothing does.
    pub undo: Vec<String>,
}

/// A unit of systemd that runs, now and at each boot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unit {
    /// `haproxy.service`
    pub name: String,
    /// The resources that it reads when it starts: it has loaded what they held then.
    pub reads: Vec<ResourceId>,
    /// Whether it can take them up without a restart.
    pub reloads: bool,
}

impl Resource {
    /// Its name on the node.
    pub fn id(&self) -> ResourceId {
        match self {
            Resource::Package(it) => ResourceId::package(&it.name),
            Resource::Module { name } => ResourceId(format!("module {name}")),
            Resource::Sysctl { key, .. } => ResourceId(format!("sysctl {key}")),
            Resource::Mount(it) => ResourceId(format!("mount {}", it.path)),
            Resource::User(it) => ResourceId(format!("user {}", it.name)),
            Resource::Directory(it) => ResourceId(format!("directory {}", it.path)),
            Resource::File(it) => ResourceId::file(&it.path),
            Resource::Certificate(it) => ResourceId::certificate(&it.name),
            Resource::Table(it) => ResourceId(format!("table {} {}", it.family, it.name)),
            Resource::Command(it) => ResourceId(format!("command {}", it.name)),
            Resource::Unit(it) => ResourceId(format!("unit {}", it.name)),
        }
    }

    /// Whether it outlives the role unless an operator says otherwise.
    pub fn is_data(&self) -> bool {
        match self {
            Resource::Directory(it) => it.data,
            Resource::Package(_)
            | Resource::Module { .. }
            | Resource::Sysctl { .. }
            | Resource::Mount(_)
            | Resource::User(_)
            | Resource::File(_)
            | Resource::Certificate(_)
            | Resource::Table(_)
            | Resource::Command(_)
            | Resource::Unit(_) => false,
        }
    }

    /// The program that takes it up while it runs.
    pub fn live(&self) -> Option<&Live> {
        match self {
            Resource::File(it) => it.live.as_ref(),
            Resource::Certificate(it) => it.live.as_ref(),
            Resource::Package(_)
            | Resource::Module { .. }
            | Resource::Sysctl { .. }
            | Resource::Mount(_)
            | Resource::User(_)
            | Resource::Directory(_)
            | Resource::Table(_)
            | Resource::Command(_)
            | Resource::Unit(_) => None,
        }
    }
}

impl ResourceId {
    /// Of a package.
    pub fn package(name: &str) -> Self {
        Self(format!("package {name}"))
    }

    /// Of a file.
    pub fn file(path: &str) -> Self {
        Self(format!("file {path}"))
    }

    /// Of a certificate.
    pub fn certificate(name: &str) -> Self {
        Self(format!("certificate {name}"))
    }

    /// As it was written before: it is compared, nothing is read from it.
    pub fn from_text(text: &str) -> Self {
        Self(text.to_owned())
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ResourceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl Content {
    /// What anyone may see.
    pub fn plain(text: impl Into<String>) -> Self {
        let (text, secret) = (text.into(), false);
        Self { text, secret }
    }

    /// What nobody is shown.
    pub fn secret(text: impl Into<String>) -> Self {
        let (text, secret) = (text.into(), true);
        Self { text, secret }
    }

    /// Names it.
    pub fn digest(&self) -> Digest {
        Digest::of(&self.text)
    }
}

impl fmt::Debug for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.secret {
            true => f.write_str("Content(secret)"),
            false => f.debug_tuple("Content").field(&self.text).finish(),
        }
    }
}

impl Certificate {
    /// Names what is certified: another one needs another certificate. Who takes it up is no part
    /// of that.
    pub fn profile(&self) -> Digest {
        let terms = Self {
            live: None,
            ..self.clone()
        };
        let text = serde_json::to_vec(&terms).expect("a certificate's terms are plain JSON");
        Digest::of(text)
    }
}

impl Unit {
    /// What it loads when it starts: of these contents those that it reads.
    pub fn loads(&self, contents: &Contents) -> Contents {
        let read = self.reads.iter();
        let read = read.filter_map(|id| Some((id.clone(), contents.get(id)?.clone())));
        read.collect()
    }
}
