//! The link against a played executor.

use tokio::net::UnixListener;

use super::*;

fn series() -> RoleSeries {
    let metrics = crate::metrics::Metrics::new("1.2.3");
    metrics.expect("no two series clash").roles
}

fn order(statement: &str) -> v1::SignedRole {
    v1::SignedRole {
        statement: statement.as_bytes().to_vec(),
        ..v1::SignedRole::default()
    }
}

fn question(id: &str) -> v1::RolePlanRequest {
    v1::RolePlanRequest {
        id: id.to_owned(),
        asked: None,
        outside: Vec::new(),
    }
}

async fn asked(stream: &mut UnixStream) -> apply_request::Kind {
    let request: v1::ApplyRequest = wire::read(stream).await.expect("read").expect("a request");
    request.kind.expect("a kind")
}

#[tokio::test]
async fn the_newest_order_reaches_an_executor_that_comes_up_later_and_again_after_a_break() {
    let root = tempfile::tempdir().expect("a folder");
    let socket = root.path().join("control.sock");
    let (link, roles, mut heard) = link(socket.clone(), series());
    let running = tokio::spawn(link.run());
    roles.order(order("old"));
    roles.order(order("new"));
    let listener = UnixListener::bind(&socket).expect("bound");
    for _ in 0..2 {
        let (mut stream, _) = listener.accept().await.expect("connected");
        assert_eq!(
            asked(&mut stream).await,
            apply_request::Kind::Order(order("new"))
        );
        let report = v1::RoleReport {
            digest: "new".to_owned(),
            ..v1::RoleReport::default()
        };
        let kind = Some(apply_answer::Kind::Report(report.clone()));
        wire::write(&mut stream, &v1::ApplyAnswer { kind })
            .await
            .expect("written");
        let told = heard.report.wait_for(|it| it.as_ref() == Some(&report));
        told.await.expect("the link runs");
        heard.report.mark_unchanged();
    }
    running.abort();
}

#[tokio::test]
async fn a_question_is_answered_whether_the_executor_is_there_hangs_up_or_answers() {
    let root = tempfile::tempdir().expect("a folder");
    let socket = root.path().join("control.sock");
    let (link, roles, mut heard) = link(socket.clone(), series());
    let running = tokio::spawn(link.run());
    assert_eq!(roles.ask(question("a")), None);
    let plan = heard.plans.recv().await.expect("an answer");
    assert!(
        plan.id == "a" && plan.problem.contains("systemctl status"),
        "{plan:?}"
    );

    let listener = UnixListener::bind(&socket).expect("bound");
    let (mut stream, _) = listener.accept().await.expect("connected");
    assert_eq!(roles.ask(question("b")), None);
    assert_eq!(
        asked(&mut stream).await,
        apply_request::Kind::Plan(question("b"))
    );
    drop(stream);
    assert_eq!(heard.plans.recv().await.expect("an answer").id, "b");

    let (mut stream, _) = listener.accept().await.expect("connected");
    assert_eq!(roles.ask(question("c")), None);
    assert_eq!(
        asked(&mut stream).await,
        apply_request::Kind::Plan(question("c"))
    );
    let answer = v1::RolePlan {
        id: "c".to_owned(),
        ..v1::RolePlan::default()
    };
    let kind = Some(apply_answer::Kind::Plan(answer.clone()));
    wire::write(&mut stream, &v1::ApplyAnswer { kind })
        .await
        .expect("written");
    assert_eq!(heard.plans.recv().await, Some(answer));
    running.abort();
}
