//! What a site says about its proxies, as a document.

use super::print::any_text;
use super::proxies::{CertificateSource, EdgeProxy, InternalProxy, WebBackends};
use crate::duration;

pub(super) fn edge_fields(edge: &EdgeProxy) -> Vec<String> {
    let EdgeProxy {
        names,
        certificate,
        forward_to,
        hsts,
        headers,
        rate_limit,
    } = edge;
    let names: Vec<String> = names.iter().map(|it| any_text(it.as_ref())).collect();
    let mut fields = vec![format!("names: [{}]", names.join(", "))];
    if *certificate != CertificateSource::default() {
        fields.push(format!("certificate: {certificate}"));
    }
    fields.push(format!("forward_to: {}", any_text(forward_to.as_ref())));
    if let Some(span) = hsts {
        fields.push(format!("hsts: {}", duration::show_long(*span)));
    }
    if !headers.is_empty() {
        let headers = headers.iter();
        let headers = headers.map(|(name, value)| format!("{name}: {}", any_text(value.as_ref())));
        fields.push(format!(
            "headers: {{{}}}",
            headers.collect::<Vec<_>>().join(", ")
        ));
    }
    if let Some(limit) = rate_limit {
        let (requests, per) = (limit.requests, duration::show(limit.per));
        fields.push(format!("rate_limit: {{requests: {requests}, per: {per}}}"));
    }
    fields
}

pub(super) fn internal_fields(internal: &InternalProxy) -> Vec<String> {
    let InternalProxy {
        web: WebBackends { role, port, check },
    } = internal;
    let mut fields = format!("role: {role}, port: {port}");
    if check.as_ref() != WebBackends::DEFAULT_CHECK {
        fields.push_str(&format!(", check: {}", any_text(check.as_ref())));
    }
    vec![format!("web: {{{fields}}}")]
}
