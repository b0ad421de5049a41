//! The single-use secret that lets a node enrol.
//!
//! `hamesh1.<id>.<secret>.<CA fingerprint>`: the id finds the record, the secret proves the right,
//! the fingerprint lets the node know the coordinator before it trusts anything. The coordinator
//! keeps only [`SecretHash`]. The secret has 256 random bits, so a plain SHA-256 is enough: there
//! is nothing to guess. Expiry, single use and the node's name live in the coordinator's record.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::digest;
use serde::{Deserialize, Serialize};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use crate::ca::Fingerprint;
use crate::random;

const PREFIX: &str = "hamesh1";
const ID_BYTES: usize = 8;
const SECRET_BYTES: usize = 32;

/// A token in the clear. `Debug` hides the secret; `Display` is the token itself, to be shown once.
#[derive(Clone, PartialEq, Eq)]
pub struct EnrolmentToken {
    id: String,
    secret: Zeroizing<[u8; SECRET_BYTES]>,
    ca: Fingerprint,
}

/// What the coordinator keeps of a token's secret: its SHA-256, as lower-case hex in text.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct SecretHash([u8; 32]);

/// Why a text is not a token. It never quotes the text. Nothing was changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not an enrolment token ({0}); copy the whole line that `coordctl token create` printed")]
pub struct TokenError(&'static str);

/// Not 64 hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a SHA-256 in hexadecimal")]
pub struct SecretHashError;

impl EnrolmentToken {
    /// A fresh token for a site whose CA is `ca`.
    pub fn generate(ca: Fingerprint) -> Self {
        let id: [u8; ID_BYTES] = random::bytes();
        Self {
            id: crate::hex::encode(&id),
            secret: Zeroizing::new(random::bytes()),
            ca,
        }
    }

    /// Names the token in lists and records; not secret. 16 hexadecimal digits.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The CA that the enrolling node must see.
    pub fn ca(&self) -> Fingerprint {
        self.ca
    }

    /// What to keep in place of the secret.
    pub fn secret_hash(&self) -> SecretHash {
        let digest = digest::digest(&digest::SHA256, self.secret.as_slice());
        let mut hash = [0; 32];
        hash.copy_from_slice(digest.as_ref());
        SecretHash(hash)
    }
}

impl SecretHash {
    /// Whether this is the hash of the token's secret, in constant time.
    pub fn matches(&self, token: &EnrolmentToken) -> bool {
        self.0.ct_eq(&token.secret_hash().0).into()
    }
}

impl fmt::Display for EnrolmentToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let secret = Zeroizing::new(URL_SAFE_NO_PAD.encode(self.secret.as_slice()));
        write!(f, "{PREFIX}.{}.{}.{}", self.id, secret.as_str(), self.ca)
    }
}

impl fmt::Debug for EnrolmentToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EnrolmentToken")
            .field("id", &self.id)
            .field("secret", &"[redacted]")
            .field("ca", &self.ca)
            .finish()
    }
}

impl FromStr for EnrolmentToken {
    type Err = TokenError;

    /// Surrounding white space is ignored: tokens are pasted.
    fn from_str(text: &str) -> Result<Self, TokenError> {
        let mut parts = text.trim().split('.');
        let mut part = || parts.next().ok_or(TokenError("a part is missing"));
        if part()? != PREFIX {
            return Err(TokenError("it does not start with hamesh1."));
        }
        let (id, secret, ca) = (part()?, part()?, part()?);
        if parts.next().is_some() {
            return Err(TokenError("it has too many parts"));
        }
        crate::hex::decode::<ID_BYTES>(id).ok_or(TokenError("its id is damaged"))?;
        let mut bytes = Zeroizing::new([0; SECRET_BYTES]);
        match URL_SAFE_NO_PAD.decode_slice(secret, bytes.as_mut_slice()) {
            Ok(SECRET_BYTES) => {}
            Ok(_) | Err(_) => return Err(TokenError("its secret is damaged")),
        }
        let ca = ca
            .parse()
            .map_err(|_| TokenError("its CA fingerprint is damaged"))?;
        Ok(Self {
            id: id.to_owned(),
            secret: bytes,
            ca,
        })
    }
}

impl From<SecretHash> for String {
    fn from(hash: SecretHash) -> String {
        crate::hex::encode(&hash.0)
    }
}

impl TryFrom<String> for SecretHash {
    type Error = SecretHashError;

    fn try_from(text: String) -> Result<Self, SecretHashError> {
        crate::hex::decode(&text).map(Self).ok_or(SecretHashError)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn token() -> EnrolmentToken {
        EnrolmentToken::generate(Fingerprint::of(b"a certificate"))
    }

    #[test]
    fn a_token_comes_back_as_it_went_also_when_pasted_with_white_space() {
        let token = token();
        let pasted = format!("  {token}\n");
        assert_eq!(pasted.parse::<EnrolmentToken>().expect("a token"), token);
    }

    #[test]
    fn the_hash_matches_its_own_token_and_no_other_after_a_trip_through_json() {
        let (token, other) = (token(), token());
        let json = serde_json::to_string(&token.secret_hash()).expect("json");
        let hash: SecretHash = serde_json::from_str(&json).expect("a hash");
        assert!(hash.matches(&token));
        assert!(!hash.matches(&other));
        assert!(serde_json::from_str::<SecretHash>("\"00\"").is_err());
    }

    #[test]
    fn debug_and_errors_show_no_secret() {
        let token = token();
        let text = token.to_string();
        let secret = text.split('.').nth(2).expect("a secret");
        let debug = format!("{token:?}");
        assert!(
            !debug.contains(secret) && debug.contains("[redacted]"),
            "{debug}"
        );
        let error = format!("{text}.more")
            .parse::<EnrolmentToken>()
            .expect_err("too many parts");
        assert!(!error.to_string().contains(secret));
    }

    #[test]
    fn two_tokens_share_neither_id_nor_secret() {
        let (one, two) = (token(), token());
        assert_ne!(one.id(), two.id());
        assert!(!one.secret_hash().matches(&two));
    }

    proptest! {
        #[test]
        fn parsing_never_panics(text in "(hamesh1\\.)?[ -~]{0,200}|.{0,200}") {
            let _ = text.parse::<EnrolmentToken>();
        }

        #[test]
        fn one_changed_character_is_refused_or_gives_another_token(
            at in 0usize..140, with in "[0-9a-zA-Z._-]"
        ) {
            let token = token();
            let mut text = token.to_string();
            prop_assume!(at < text.len() && text[at..=at] != with);
            text.replace_range(at..=at, &with);
            if let Ok(other) = text.parse::<EnrolmentToken>() {
                prop_assert_ne!(other, token);
            }
        }
    }
}
