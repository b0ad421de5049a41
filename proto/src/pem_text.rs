//! PEM files with one private key and its certificates.

pub(crate) const PRIVATE_KEY: &str = "PRIVATE KEY";
pub(crate) const CERTIFICATE: &str = "CERTIFICATE";

/// Why a text is not one private key with certificates. Nothing was changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PemError {
    /// The text does not follow RFC 7468.
    #[error("the file is not PEM text")]
    Syntax,
    /// No `PRIVATE KEY`, or more than one.
    #[error("the file must hold exactly one PRIVATE KEY section")]
    PrivateKey,
    /// No `CERTIFICATE`.
    #[error("the file holds no CERTIFICATE section")]
    NoCertificate,
    /// Neither a private key nor a certificate.
    #[error("the file holds a section that is neither PRIVATE KEY nor CERTIFICATE")]
    Unknown,
    /// The private key is of another kind.
    #[error(transparent)]
    Key(#[from] crate::key::KeyError),
}

pub(crate) fn section(tag: &str, der: &[u8]) -> String {
    let config = pem::EncodeConfig::new().set_line_ending(pem::LineEnding::LF);
    pem::encode_config(&pem::Pem::new(tag, der), config)
}

/// A certificate as PEM text, for programs that read such files.
pub fn certificate(der: &[u8]) -> String {
    section(CERTIFICATE, der)
}

/// The sections of `text` one after the other, with nothing between them and no line empty.
///
/// # Errors
/// [`PemError::Syntax`].
pub fn bare(text: &str) -> Result<zeroize::Zeroizing<String>, PemError> {
    let sections = pem::parse_many(text).map_err(|_| PemError::Syntax)?;
    let sections = sections.iter();
    let texts = sections.map(|it| section(it.tag(), it.contents()));
    Ok(zeroize::Zeroizing::new(texts.collect()))
}

/// The certificates of `text`, in order: DER.
///
/// # Errors
/// [`PemError::Syntax`], [`PemError::NoCertificate`].
pub fn certificates(text: &str) -> Result<Vec<Vec<u8>>, PemError> {
    let sections = pem::parse_many(text).map_err(|_| PemError::Syntax)?;
    let certificates = sections.into_iter().filter(|it| it.tag() == CERTIFICATE);
    let certificates: Vec<_> = certificates.map(pem::Pem::into_contents).collect();
    match certificates.is_empty() {
        true => Err(PemError::NoCertificate),
        false => Ok(certificates),
    }
}

/// The private key and the certificates of `text`, in order; at least one certificate.
pub(crate) fn parse(text: &str) -> Result<(crate::key::PrivateKey, Vec<Vec<u8>>), PemError> {
    let mut keys = Vec::new();
    let mut certificates = Vec::new();
    for section in pem::parse_many(text).map_err(|_| PemError::Syntax)? {
        match section.tag() {
            PRIVATE_KEY => keys.push(zeroize::Zeroizing::new(section.into_contents())),
            CERTIFICATE => certificates.push(section.into_contents()),
            _ => return Err(PemError::Unknown),
        }
    }
    let [key] = keys.as_slice() else {
        return Err(PemError::PrivateKey);
    };
    if certificates.is_empty() {
        return Err(PemError::NoCertificate);
    }
    Ok((crate::key::PrivateKey::from_pkcs8_der(key)?, certificates))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_left_around_the_sections() {
        let made = rcgen::generate_simple_self_signed(Vec::new()).expect("a certificate");
        let (chain, key) = (made.cert.pem(), made.signing_key.serialize_pem());
        let dressed = format!("# by hamesh\n\n{chain}\n\nkey:\n{key}\n").replace('\n', "\r\n");
        let bare = bare(&dressed).expect("PEM");
        assert_eq!(*bare, (chain.clone() + &key).replace("\r\n", "\n"));
        assert!(bare.lines().all(|line| !line.is_empty()));
        let certificates = certificates(&dressed).expect("PEM");
        assert_eq!(certificates, [made.cert.der().to_vec()]);
        assert_eq!(super::certificates(&key), Err(PemError::NoCertificate));
    }
}
