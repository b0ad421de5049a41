//! Who may have what, in each constellation.

mod together;

use super::*;

fn node(digest: &str, phase: Phase) -> Node {
    Node {
        role: Some(Role::EdgeProxy),
        configured: true,
        wanted: Ok(Wanted {
            digest: "new".to_owned(),
            attempt: 0,
            observe: false,
        }),
        connected: true,
        holds: false,
        released: false,
        at_it: false,
        report: Some(Report {
            digest: digest.to_owned(),
            attempt: 0,
            phase,
            problem: match phase {
                Phase::Failed => "no".to_owned(),
                _ => String::new(),
            },
            worked_as: None,
            refused: None,
        }),
    }
}

fn site(nodes: &[(&str, Node)]) -> BTreeMap<NodeId, Node> {
    let named = |(id, node): &(&str, Node)| (id.parse().expect("a name"), node.clone());
    nodes.iter().map(named).collect()
}

fn places(nodes: &[(&str, Node)]) -> Vec<Place> {
    plan(&site(nodes)).into_values().collect()
}

fn id(name: &str) -> NodeId {
    name.parse().expect("a name")
}

#[test]
fn one_at_a_time_and_standbys_before_the_holder() {
    let holder = Node {
        holds: true,
        ..node("old", Phase::Done)
    };
    let standby = node("old", Phase::Done);
    assert_eq!(
        places(&[("a", holder.clone()), ("b", standby)]),
        [Place::Waits(Reason::After(id("b"))), Place::Applying]
    );
    let done = node("new", Phase::Done);
    assert_eq!(
        places(&[("a", holder), ("b", done)]),
        [Place::Applying, Place::AsWanted]
    );
}

#[test]
fn what_does_not_serve_is_made_first() {
    let (blank, serving) = (node("", Phase::None), node("old", Phase::Done));
    assert_eq!(
        places(&[("a", serving), ("b", blank)]),
        [Place::Waits(Reason::After(id("b"))), Place::Applying]
    );
}

#[test]
fn after_a_failure_the_others_keep_what_they_have() {
    let (failed, other) = (node("new", Phase::Failed), node("old", Phase::Done));
    let all = [("a", failed.clone()), ("b", other.clone())];
    assert_eq!(
        places(&all),
        [
            Place::Failed("no".to_owned()),
            Place::Waits(Reason::FailedAt(id("a")))
        ]
    );
    let mut again = failed;
    again.wanted.as_mut().expect("wanted").attempt = 1;
    assert_eq!(places(&[("a", again), ("b", other)])[0], Place::Applying);
}

#[test]
fn the_last_one_that_works_is_left_as_it_is() {
    let serving = node("old", Phase::Done);
    let gone = Node {
        connected: false,
        report: None,
        ..node("", Phase::None)
    };
    assert_eq!(
        places(&[("a", serving.clone()), ("b", gone)]),
        [Place::Waits(Reason::LastOne), Place::Away]
    );
    assert_eq!(places(&[("a", serving)]), [Place::Applying]);
}

#[test]
fn who_is_lost_in_the_middle_of_a_change_holds_up_the_others() {
    let left = Node {
        connected: false,
        at_it: true,
        report: None,
        ..node("", Phase::None)
    };
    let serving = node("old", Phase::Done);
    let all = [("a", left), ("b", serving.clone()), ("c", serving)];
    let after = Place::Waits(Reason::After(id("a")));
    assert_eq!(places(&all), [Place::Left, after.clone(), after]);
}

#[test]
fn an_agent_without_its_executor_is_no_news_of_the_role() {
    let mut lost = node("", Phase::None);
    lost.report.as_mut().expect("a report").problem = "it hung up".to_owned();
    let waits = Place::Waits(Reason::Lost("it hung up".to_owned()));
    let other = node("old", Phase::Done);
    assert_eq!(
        places(&[("a", lost), ("b", other)]),
        [waits, Place::Waits(Reason::LastOne)]
    );
}

#[test]
fn an_order_that_its_node_does_not_believe_failed_there_and_a_forged_one_is_no_news() {
    let refused = |digest: &str| {
        Some(Refused {
            digest: digest.to_owned(),
            attempt: 0,
            why: "no coordinator's".to_owned(),
        })
    };
    let mut node = Node {
        released: true,
        ..node("old", Phase::Done)
    };
    node.report.as_mut().expect("a report").refused = refused("new");
    let failed = Place::Failed("no coordinator's".to_owned());
    assert_eq!(places(&[("a", node.clone())]), [failed]);
    node.report.as_mut().expect("a report").refused = refused("forged");
    assert_eq!(places(&[("a", node.clone())]), [Place::Applying]);
    let report = node.report.as_mut().expect("a report");
    (report.digest, report.refused) = ("new".to_owned(), refused("new"));
    assert_eq!(places(&[("a", node)]), [Place::AsWanted]);
}

#[test]
fn a_new_leader_finds_who_is_at_it() {
    let (at_it, other) = (node("new", Phase::Applying), node("old", Phase::Done));
    assert_eq!(
        places(&[("a", at_it), ("b", other.clone())]),
        [Place::Applying, Place::Waits(Reason::After(id("a")))]
    );
    let told = Node {
        released: true,
        ..node("old", Phase::Done)
    };
    assert_eq!(
        places(&[("a", told), ("b", other)]),
        [Place::Applying, Place::Waits(Reason::After(id("a")))]
    );
}

#[test]
fn what_is_missing_holds_up_its_own_node_alone() {
    let lacks = Node {
        wanted: Err("no certificate".to_owned()),
        ..node("old", Phase::Done)
    };
    let silent = Node {
        report: None,
        ..node("", Phase::None)
    };
    let all = [("a", lacks), ("b", silent), ("c", node("", Phase::None))];
    assert_eq!(
        places(&all),
        [
            Place::Waits(Reason::Missing("no certificate".to_owned())),
            Place::Waits(Reason::Silent),
            Place::Applying
        ]
    );
}

#[test]
fn who_only_looks_waits_for_nobody() {
    let mut looks = node("old", Phase::Done);
    looks.wanted.as_mut().expect("wanted").observe = true;
    let at_it = node("new", Phase::Applying);
    assert_eq!(
        places(&[("a", at_it), ("b", looks)]),
        [Place::Applying, Place::Applying]
    );
}

#[test]
fn roles_do_not_wait_for_each_other() {
    let other = Node {
        role: Some(Role::InternalProxy),
        ..node("old", Phase::Done)
    };
    let none = Node {
        role: None,
        ..node("old", Phase::Done)
    };
    let all = [("a", node("", Phase::None)), ("b", other), ("c", none)];
    assert_eq!(
        places(&all),
        [Place::Applying, Place::Applying, Place::Applying]
    );
}
