//! Roles whose first nodes begin together, and what holds for every constellation of three.

use super::*;

/// A node of a cluster that is to have the order `new`.
fn member(digest: &str, phase: Phase) -> Node {
    Node {
        role: Some(Role::Database),
        ..node(digest, phase)
    }
}

/// The same, once it was seen to work as one.
fn proven(digest: &str, phase: Phase) -> Node {
    let mut node = member(digest, phase);
    node.report.as_mut().expect("a report").worked_as = Some(Role::Database);
    node
}

fn wanted(node: &mut Node) -> &mut Wanted {
    node.wanted.as_mut().expect("wanted")
}

fn blank() -> Node {
    member("", Phase::None)
}

fn away() -> Node {
    Node {
        connected: false,
        report: None,
        ..blank()
    }
}

/// Away in the middle of it.
fn left() -> Node {
    Node {
        at_it: true,
        ..away()
    }
}

fn silent() -> Node {
    Node {
        report: None,
        ..blank()
    }
}

fn lacking() -> Node {
    Node {
        wanted: Err("no password".to_owned()),
        ..blank()
    }
}

fn retried(mut node: Node) -> Node {
    wanted(&mut node).attempt += 1;
    node
}

fn together(name: &str) -> Place {
    Place::Waits(Reason::Together(id(name)))
}

fn after(name: &str) -> Place {
    Place::Waits(Reason::After(id(name)))
}

fn failed() -> Place {
    Place::Failed("no".to_owned())
}

fn three([a, b, c]: [Node; 3]) -> Vec<Place> {
    places(&[("a", a), ("b", b), ("c", c)])
}

#[test]
fn blank_machines_become_a_cluster_all_at_once() {
    let applying = [Place::Applying, Place::Applying, Place::Applying];
    assert_eq!(three([blank(), blank(), blank()]), applying);
    // What cleared a machine for another role, or for none, is nothing that others could join.
    let cleared = member("nothing", Phase::Done);
    assert_eq!(three([blank(), cleared, blank()]), applying);
    let changed_meanwhile = member("newer", Phase::Applying);
    assert_eq!(three([changed_meanwhile, blank(), blank()]), applying);
    let proxy = || node("", Phase::None);
    assert_eq!(
        three([proxy(), proxy(), proxy()]),
        [Place::Applying, after("a"), after("a")]
    );
}

#[test]
fn none_begins_before_all_are_heard_of() {
    assert_eq!(
        three([blank(), away(), blank()]),
        [together("b"), Place::Away, together("b")]
    );
    let silence = Place::Waits(Reason::Silent);
    assert_eq!(
        three([silent(), blank(), blank()]),
        [silence, together("a"), together("a")]
    );
    let missing = Place::Waits(Reason::Missing("no password".to_owned()));
    assert_eq!(
        three([blank(), blank(), lacking()]),
        [together("c"), together("c"), missing]
    );
    let mut looks = member("new", Phase::Observing);
    wanted(&mut looks).observe = true;
    assert_eq!(
        three([blank(), blank(), looks]),
        [together("c"), together("c"), Place::Observed]
    );
}

#[test]
fn once_one_works_the_others_follow_one_after_the_other() {
    let works = || proven("new", Phase::Done);
    assert_eq!(
        three([works(), blank(), blank()]),
        [Place::AsWanted, Place::Applying, after("b")]
    );
    // Those that had begun go on.
    let at_it = || member("new", Phase::Applying);
    assert_eq!(
        three([works(), at_it(), at_it()]),
        [Place::AsWanted, Place::Applying, Place::Applying]
    );
    // It worked once, and does not at present.
    let broken = proven("old", Phase::Applying);
    assert_eq!(
        three([blank(), blank(), broken]),
        [Place::Applying, after("a"), after("a")]
    );
}

#[test]
fn who_failed_in_the_beginning_may_try_again_together_or_alone() {
    let no = || member("new", Phase::Failed);
    let at_it = || member("new", Phase::Applying);
    let again = || retried(no());
    assert_eq!(
        three([again(), again(), again()]),
        [Place::Applying, Place::Applying, Place::Applying]
    );
    assert_eq!(
        three([again(), no(), at_it()]),
        [Place::Applying, failed(), Place::Applying]
    );
    assert_eq!(three([no(), no(), no()]), [failed(), failed(), failed()]);
    // The one that was away is still away: it would fail again.
    assert_eq!(
        three([again(), no(), left()]),
        [together("c"), failed(), Place::Left]
    );
}

#[test]
fn what_is_not_configured_is_cleared_one_after_the_other() {
    let idle = || Node {
        configured: false,
        ..blank()
    };
    assert_eq!(
        three([idle(), away(), idle()]),
        [Place::Applying, Place::Away, after("a")]
    );
}

/// Every way in which a node can be.
fn kinds() -> Vec<Node> {
    let holder = Node {
        holds: true,
        ..proven("old", Phase::Done)
    };
    let told = Node {
        released: true,
        ..blank()
    };
    let mut looks = blank();
    wanted(&mut looks).observe = true;
    vec![
        blank(),
        member("nothing", Phase::Done),
        member("new", Phase::Applying),
        member("new", Phase::Failed),
        retried(member("new", Phase::Failed)),
        proven("old", Phase::Done),
        proven("new", Phase::Done),
        proven("new", Phase::Failed),
        proven("old", Phase::Applying),
        holder,
        away(),
        left(),
        silent(),
        told,
        lacking(),
        looks,
    ]
}

/// Judges each three of them, as nodes of this role, with their places.
fn each_three(role: Role, judge: impl Fn(&BTreeMap<NodeId, Node>, &[Place]) -> bool) {
    let kinds = kinds();
    for a in &kinds {
        for b in &kinds {
            for c in &kinds {
                let nodes = [("a", a.clone()), ("b", b.clone()), ("c", c.clone())];
                let nodes = in_role(site(&nodes), role);
                let places: Vec<_> = plan(&nodes).into_values().collect();
                assert!(judge(&nodes, &places), "{nodes:#?} {places:#?}");
            }
        }
    }
}

fn in_role(mut nodes: BTreeMap<NodeId, Node>, role: Role) -> BTreeMap<NodeId, Node> {
    for node in nodes.values_mut() {
        node.role = Some(role);
    }
    nodes
}

fn worked(node: &Node) -> bool {
    let report = node.report.as_ref();
    report.is_some_and(|report| report.worked_as == Some(Role::Database))
}

/// Who begins now: those that were not at it before.
fn beginning<'a>(nodes: &'a BTreeMap<NodeId, Node>, places: &[Place]) -> Vec<&'a Node> {
    let pairs = nodes.values().zip(places);
    let now = pairs.filter(|(node, place)| **place == Place::Applying && standing(node).is_none());
    now.map(|(node, _)| node).collect()
}

#[test]
fn invariant_one_at_a_time_and_never_the_last_one_but_where_a_cluster_forms() {
    for role in [Role::EdgeProxy, Role::Database] {
        each_three(role, |nodes, places| {
            let begin = beginning(nodes, places);
            if role.begins_together() && !nodes.values().any(worked) {
                return true;
            }
            let held_up = |place: &Place| matches!(place, Place::Failed(_) | Place::Left);
            let serving = nodes.values().filter(|node| serves(node)).count();
            let last = |node: &&Node| serves(node) && serving == 1;
            begin.len() <= 1
                && !begin.iter().any(last)
                && (begin.is_empty() || !places.iter().any(held_up))
        });
    }
}

#[test]
fn invariant_a_cluster_forms_with_all_of_its_nodes_or_not_at_all() {
    each_three(Role::Database, |nodes, places| {
        let heard = |node: &Node| {
            let looks = node.wanted.as_ref().is_ok_and(|wanted| wanted.observe);
            node.report.is_some() && node.wanted.is_ok() && !looks
        };
        let could = nodes.values().filter(|node| standing(node).is_none());
        let wanted = match nodes.values().all(heard) {
            true => could.count(),
            false => 0,
        };
        nodes.values().any(worked) || beginning(nodes, places).len() == wanted
    });
}

#[test]
fn invariant_a_cluster_that_worked_changes_as_every_other_role_does() {
    each_three(Role::Database, |nodes, places| {
        let proxies = plan(&in_role(nodes.clone(), Role::EdgeProxy));
        !nodes.values().any(worked) || proxies.into_values().eq(places.iter().cloned())
    });
}
