//! The context file: which site, its coordinators, and who the operator is.
//!
//! It holds a private key: it is written 0600 and replaced whole, and one that others may read is
//! refused, as `ssh` refuses such a key.

use std::fs::DirBuilder;
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

use hamesh_proto::credentials::Credentials;
use hamesh_proto::files;
use hamesh_proto::ids::SiteName;
use hamesh_proto::spiffe::Principal;
use serde::{Deserialize, Serialize};

use super::failure::{Failure, chain};

/// The longest context file read: a key, a leaf and eight CAs are under 10 KiB.
const LONGEST: u64 = 256 << 10;

/// An operator's way to a site.
#[derive(Debug, Clone)]
pub struct Context {
    /// The site's name.
    pub site: SiteName,
    /// The coordinators, tried in this order.
    pub coordinators: Vec<SocketAddr>,
    /// Who the operator is.
    pub credentials: Credentials,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    site: SiteName,
    coordinators: Vec<SocketAddr>,
    identity_pem: String,
}

impl Context {
    /// Where the context is, if `--context` and `HAMESH_CONTEXT` do not say otherwise.
    pub fn default_path() -> Result<PathBuf, Failure> {
        let set = |name| std::env::var_os(name).filter(|value| !value.is_empty());
        let folder = set("XDG_CONFIG_HOME")
            .map(PathBuf::from)
            .filter(|path| path.is_absolute());
        let folder = folder.or_else(|| Some(PathBuf::from(set("HOME")?).join(".config")));
        folder
            .map(|folder| folder.join("hamesh/context.json"))
            .ok_or_else(|| {
                Failure::invalid("HOME is not set", "name the context file with --context")
            })
    }

    /// Reads the file at `path`.
    pub fn load(path: &Path) -> Result<Context, Failure> {
        let unusable = |reason: String| Failure::Context {
            path: path.to_owned(),
            reason,
        };
        let metadata = match std::fs::metadata(path) {
            Ok(metadata) => metadata,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(Failure::NoContext {
                    path: path.to_owned(),
                });
            }
            Err(error) => return Err(unusable(error.to_string())),
        };
        let mode = metadata.permissions().mode() & 0o777;
        if mode & 0o077 != 0 {
            let file = path.display();
            let message = format!("the context file {file} is open to others (mode {mode:04o})");
            return Err(Failure::invalid(message, format!("run `chmod 600 {file}`")));
        }
        if metadata.len() > LONGEST {
            return Err(unusable(format!("it has more than {LONGEST} bytes")));
        }
        let text = std::fs::read_to_string(path).map_err(|error| unusable(error.to_string()))?;
        Context::parse(&text).map_err(unusable)
    }

    /// Reads what [`save`](Self::save) wrote; otherwise says why not.
    pub fn parse(text: &str) -> Result<Context, String> {
        let file = serde_json::from_str::<File>(text).map_err(|error| error.to_string())?;
        let credentials =
            Credentials::from_pem(&file.identity_pem).map_err(|error| chain(&error))?;
        if credentials.spiffe_id().site != file.site {
            let identity = credentials.spiffe_id();
            return Err(format!(
                "its identity is {identity}, not one of site {}",
                file.site
            ));
        }
        match credentials.spiffe_id().principal {
            Principal::Operator(_) => {}
            Principal::Agent(_) | Principal::Coordinator(_) => {
                return Err(format!(
                    "its identity is {}, no operator",
                    credentials.spiffe_id()
                ));
            }
        }
        if file.coordinators.is_empty() {
            return Err("it names no coordinator".to_owned());
        }
        Ok(Context {
            site: file.site,
            coordinators: file.coordinators,
            credentials,
        })
    }

    /// Writes the file at `path`, 0600 and whole, and makes its folder if need be.
    pub fn save(&self, path: &Path) -> Result<(), Failure> {
        let folder = path
            .parent()
            .filter(|folder| !folder.as_os_str().is_empty());
        if let Some(folder) = folder {
            let made = DirBuilder::new().recursive(true).mode(0o700).create(folder);
            made.map_err(|error| Failure::file("make the folder", folder, &error))?;
        }
        let file = File {
            site: self.site.clone(),
            coordinators: self.coordinators.clone(),
            identity_pem: self.credentials.to_pem().to_string(),
        };
        let mut text = serde_json::to_string_pretty(&file).expect("texts serialise");
        text.push('\n');
        files::write_atomic(path, text.as_bytes(), files::SECRET)
            .map_err(|error| Failure::file("write", path, &error))
    }

    /// The same operator on the same site, perhaps with another certificate.
    pub fn is_of_same_operator(&self, other: &Context) -> bool {
        self.credentials.spiffe_id() == other.credentials.spiffe_id()
    }
}
