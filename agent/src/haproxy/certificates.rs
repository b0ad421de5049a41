//! Hands HAProxy a certificate while it runs.
//!
//! ```text
//! set ssl cert FILE <<  -->  commit ssl cert FILE  -->  show ssl cert FILE
//!        | no                      | no                     | another one
//!        +------- abort -----------+                        +--> refused
//! ```
//! Guarantees: what is reported as taken was seen in HAProxy afterwards; what is refused left
//! nothing open. Connections that stand go on with the certificate that they began with.
//!
//! Absent: writing the file, which HAProxy reads whenever it starts. It is written before.

use std::collections::BTreeSet;
use std::io;
use std::path::Path;

use hamesh_proto::digest::sha1_hex;
use hamesh_proto::pem_text::{self, PemError};

use super::runtime::{ask, hung_up};

/// Why HAProxy runs with the certificate of before, or nobody knows whether it does. A reload
/// makes it read the file.
#[derive(Debug, thiserror::Error)]
pub enum NotTaken {
    /// It could not be asked.
    #[error("its runtime API does not answer")]
    Silent(#[from] io::Error),
    /// What is in the file is no certificate with its key.
    #[error("the file cannot be handed over")]
    Form(#[from] PemError),
    /// The CAs in the file are others.
    #[error("it trusts other CAs than those in {0}, and takes them up at a start only")]
    OtherCas(String),
    /// It said no.
    #[error("`{command}` was answered with: {answer}")]
    Refused {
        /// What was asked, without the certificate.
        command: String,
        /// In its words.
        answer: String,
    },
}

/// Has HAProxy at `socket` take `pem` for what is in `file`. Where it also `trusts` the CAs in that
/// file, these must be the same as before: once it was handed other CAs, HAProxy 2.6 shows servers
/// no certificate any more that it is handed later.
///
/// # Errors
/// [`NotTaken`].
pub async fn hand(socket: &Path, file: &str, pem: &str, trusts: bool) -> Result<(), NotTaken> {
    let certificates = pem_text::certificates(pem)?;
    let (leaf, chain) = certificates.split_first().ok_or(PemError::NoCertificate)?;
    if trusts {
        let trusted = ask(socket, &format!("show ssl ca-file {file}")).await?;
        if !trusts_these(&trusted, chain) {
            return Err(NotTaken::OtherCas(file.to_owned()));
        }
    }
    let replaced = replace(socket, file, &pem_text::bare(pem)?).await;
    if replaced.is_err() {
        // HAProxy has one transaction at a time, and this one would be in the way of the next.
        let aborted = ask(socket, &format!("abort ssl cert {file}")).await;
        aborted
            .inspect_err(|error| tracing::debug!(%error, "no transaction was aborted"))
            .ok();
    }
    replaced?;
    let command = format!("show ssl cert {file}");
    let answer = ask(socket, &command).await?;
    match shows(&answer, leaf) {
        true => Ok(()),
        false => Err(NotTaken::Refused { command, answer }),
    }
}

async fn replace(socket: &Path, file: &str, pem: &str) -> Result<(), NotTaken> {
    let set = format!("set ssl cert {file}");
    // An empty line ends what is handed over.
    let answer = match ask(socket, &format!("{set} <<\n{pem}")).await {
        Err(error) if hung_up(&error) => "it hung up before the end of it".to_owned(),
        other => other?,
    };
    if !answer.contains("Transaction created") {
        let command = set;
        return Err(NotTaken::Refused { command, answer });
    }
    let command = format!("commit ssl cert {file}");
    let answer = ask(socket, &command).await?;
    match answer.ends_with("Success!") {
        true => Ok(()),
        false => Err(NotTaken::Refused { command, answer }),
    }
}

/// Whether `show ssl cert` is about this certificate, in use and in no transaction.
fn shows(answer: &str, leaf: &[u8]) -> bool {
    let used = answer.lines().any(|line| line == "Status: Used");
    used && fingerprints(answer) == BTreeSet::from([sha1_hex(leaf)])
}

/// Whether `show ssl ca-file` is about these CAs, and one certificate more at most: the leaf that
/// was before them in the file when HAProxy started.
fn trusts_these(answer: &str, chain: &[Vec<u8>]) -> bool {
    let (now, wanted) = (fingerprints(answer), chain.iter().map(|der| sha1_hex(der)));
    let wanted: BTreeSet<String> = wanted.collect();
    wanted.is_subset(&now) && now.difference(&wanted).count() <= 1
}

fn fingerprints(answer: &str) -> BTreeSet<String> {
    let lines = answer.lines();
    let prints = lines.filter_map(|line| line.strip_prefix("SHA1 FingerPrint: "));
    prints.map(str::to_lowercase).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_haproxy_shows_is_compared_by_fingerprint_and_use() {
        let print = sha1_hex(b"leaf").to_uppercase();
        let told = format!("Filename: /etc/x.pem\nStatus: Used\nSHA1 FingerPrint: {print}\n");
        assert!(shows(&told, b"leaf"));
        assert!(!shows(&told, b"other"));
        assert!(!shows(&told.replace("Used", "Unused"), b"leaf"));
        assert!(!shows("Can't display the certificate: Not found", b"leaf"));
    }
    #[test]
    fn the_cas_that_haproxy_trusts_are_compared_but_for_one_leaf() {
        let print = |der: &[u8]| format!("SHA1 FingerPrint: {}\n", sha1_hex(der).to_uppercase());
        let chain = [b"ca".to_vec()];
        let told = print(b"ca") + &print(b"first leaf");
        assert!(trusts_these(&told, &chain));
        assert!(!trusts_these(&told, &[b"ca".to_vec(), b"next ca".to_vec()]));
        assert!(!trusts_these(&(told + &print(b"old ca")), &chain));
        assert!(!trusts_these(
            "Can't display the CA file: Not found",
            &chain
        ));
    }
}
