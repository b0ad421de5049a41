//! What must hold between the proxies and the rest of a document.

use super::read::Draft;
use super::report::Report;
use crate::names::VipName;
use crate::role::Role;

/// Tells every contradiction, and settles where the edge forwards to.
pub(super) fn check(draft: &mut Draft) {
    let mut report = std::mem::take(&mut draft.report);
    web(draft, &mut report);
    let target = forward_to(draft, &mut report);
    if let Some(edge) = &mut draft.edge_proxy {
        edge.forward_to = target;
    }
    draft.report = report;
}

/// The one virtual address that is meant; `None`: that cannot be said, and was told.
fn forward_to(draft: &Draft, report: &mut Report) -> Option<VipName> {
    let path = "edge_proxy.forward_to";
    let edge = draft.edge_proxy.as_ref()?;
    let internal = draft.vips.iter();
    let internal = internal.filter(|(_, vip)| vip.role == Some(Role::InternalProxy));
    let internal: Vec<&VipName> = internal.map(|(name, _)| name).collect();
    let Some(named) = &edge.forward_to else {
        if report.says(path) {
            return None;
        }
        let wanted = "virtual address of the role `internal-proxy`";
        let message = match internal[..] {
            [one] => return Some(one.clone()),
            [] => format!("there is no {wanted} to forward to"),
            [..] => format!("`forward_to` is missing: there is more than one {wanted}"),
        };
        let hint = match internal.is_empty() {
            true => "add one to `vips`".to_owned(),
            false => {
                let names: Vec<&str> = internal.iter().map(|name| name.as_ref()).collect();
                format!("known: {}", names.join(", "))
            }
        };
        report.error("edge_proxy", message, Some(hint));
        return None;
    };
    match draft.vips.get(named) {
        None => {
            let known = internal.iter().map(|name| name.as_ref());
            report.unknown(path, "virtual address", named.as_ref(), known);
            return None;
        }
        Some(vip) if vip.role.is_some_and(|role| role != Role::InternalProxy) => {
            let message = format!("`{named}` is not an address of the role `internal-proxy`");
            report.error(path, message, None);
        }
        Some(_) => {}
    }
    Some(named.clone())
}

fn web(draft: &Draft, report: &mut Report) {
    let Some(internal) = &draft.internal_proxy else {
        return;
    };
    let (path, role) = ("internal_proxy.web.role", internal.web.role);
    if matches!(role, Role::EdgeProxy | Role::InternalProxy) {
        let message = format!("`{role}` is a proxy itself: web traffic would go in a circle");
        report.error(path, message, None);
    } else if !draft.nodes.values().any(|node| node.role == Some(role)) {
        // Sites grow step by step.
        let message = format!("no node has the role `{role}`: nobody can answer web traffic");
        report.warn(path, message, None);
    }
}
