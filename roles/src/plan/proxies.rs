//! Proxies and packages, as a plan shows them.

use super::{NONE, Told};
use crate::duration;
use crate::site::{EdgeProxy, InternalProxy, Site, WebBackends};

pub(super) fn edge(edge: Option<&EdgeProxy>) -> Told {
    let Some(edge) = edge else {
        return Told::Several(Vec::new());
    };
    let EdgeProxy {
        names,
        certificate,
        forward_to,
        hsts,
        headers,
        rate_limit,
    } = edge;
    let mut told: Vec<String> = names.iter().map(|name| format!("name {name}")).collect();
    told.push(format!("certificate {certificate}"));
    told.push(format!("forward to {forward_to}"));
    told.extend(hsts.map(|span| format!("hsts {}", duration::show_long(span))));
    let headers = headers.iter();
    told.extend(headers.map(|(name, value)| format!("header {name}: {value}")));
    told.extend(rate_limit.map(|limit| {
        let (requests, per) = (limit.requests, duration::show(limit.per));
        format!("at most {requests} requests per {per}")
    }));
    Told::Several(told)
}

pub(super) fn internal(internal: Option<&InternalProxy>) -> Told {
    let web = |it: &InternalProxy| {
        let WebBackends { role, port, check } = &it.web;
        format!("web to {role} port {port} (check {check})")
    };
    internal.map_or_else(|| NONE.to_owned(), web).into()
}

pub(super) fn packages(site: &Site) -> Told {
    let packages = site.packages.iter();
    Told::Several(packages.map(|(name, it)| format!("{name} {it}")).collect())
}
