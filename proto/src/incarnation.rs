//! Proof that a site was restored: its CA's signature over the number of the new incarnation.
//!
//! Who restores a site has the CA's key, no agent has it. So a coordinator may end itself for good
//! when it is shown a later number with such a signature, whoever shows it.

use crate::ca::CertificateAuthority;
use crate::ids::SiteName;
use crate::trust::TrustBundle;

/// Precedes what is signed, so that a signature made for one purpose is good for no other. What the
/// CA signs otherwise, certificates, never begins like this.
const CONTEXT: &[u8] = b"hamesh-incarnation-v1\0";

/// The signature over an incarnation of a site.
pub fn prove(ca: &CertificateAuthority, site: &SiteName, incarnation: u64) -> Vec<u8> {
    ca.sign(&message(site, incarnation))
}

/// Whether this CA signed that incarnation of the site.
pub fn is_proven(
    ca: &CertificateAuthority,
    site: &SiteName,
    incarnation: u64,
    proof: &[u8],
) -> bool {
    ca.signed(&message(site, incarnation), proof)
}

/// Whether a CA that is trusted signed that incarnation of the site: for those without its key.
pub fn is_proven_to(trust: &TrustBundle, site: &SiteName, incarnation: u64, proof: &[u8]) -> bool {
    trust.signed(&message(site, incarnation), proof)
}

fn message(site: &SiteName, incarnation: u64) -> Vec<u8> {
    let number = incarnation.to_be_bytes();
    [CONTEXT, site.as_str().as_bytes(), b"\0", number.as_slice()].concat()
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;

    #[test]
    fn a_proof_is_good_for_its_own_site_number_and_ca() {
        let site = |name: &str| name.parse::<SiteName>().expect("a name");
        let ca = |name: &str| CertificateAuthority::create(&site(name), "CA", SystemTime::now());
        let (own, other) = (ca("thirteen"), ca("thirteen"));
        let proof = prove(&own, &site("thirteen"), 7);
        assert!(is_proven(&own, &site("thirteen"), 7, &proof));
        assert!(!is_proven(&own, &site("thirteen"), 8, &proof));
        assert!(!is_proven(&own, &site("two-dc"), 7, &proof));
        assert!(!is_proven(&other, &site("thirteen"), 7, &proof));
        let trusts = |ca: &CertificateAuthority| {
            TrustBundle::new(vec![ca.certificate_der().to_vec()]).expect("a CA")
        };
        assert!(is_proven_to(&trusts(&own), &site("thirteen"), 7, &proof));
        assert!(!is_proven_to(&trusts(&own), &site("thirteen"), 8, &proof));
        assert!(!is_proven_to(&trusts(&other), &site("thirteen"), 7, &proof));
        assert!(!is_proven(&own, &site("thirteen"), 7, &[]));
    }
}
