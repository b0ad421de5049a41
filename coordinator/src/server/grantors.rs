//! Starts the grantors' thread, and what serves it on the asynchronous side.

use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::thread;

use hamesh_claims::ids::Epoch;
use hamesh_proto::spiffe::Principal;
use tokio::sync::oneshot;
use tokio::task::JoinSet;

use super::StartError;
use crate::claims::thread::Grantors;
use crate::claims::{Served, chronicle, gauges, keeper, reports};
use crate::core::Core;

/// Starts it all; gives where lease datagrams arrive. The service ends when the thread does.
pub(super) fn serve(
    core: &Arc<Core>,
    socket: UdpSocket,
    served: Served,
    servers: &mut JoinSet<()>,
    loops: &mut JoinSet<()>,
) -> Result<SocketAddr, StartError> {
    let address = socket.local_addr().map_err(StartError::Thread)?;
    let grantors = Grantors {
        socket,
        own: Principal::Coordinator(core.node.clone()),
        epoch: Epoch {
            incarnation: core.world().desired.record.incarnation,
            term: core.epoch(),
        },
        standing: core.leadership.standing(),
        clock: core.clock.clone(),
        metrics: core.metrics.leases.clone(),
        waker: core.claims.waker(),
        commands: served.commands,
        records: served.records,
        told: served.told,
    };
    let (end, ended) = oneshot::channel();
    let run = move || {
        // The receiver is gone only when the process ends.
        let _ = end.send(grantors.run());
    };
    let named = thread::Builder::new().name("grantors".to_owned());
    named.spawn(run).map_err(StartError::Thread)?;
    servers.spawn(async move {
        match ended.await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                tracing::error!(%error, "the grantors' thread failed; the process must restart");
            }
            Err(_) => tracing::error!("the grantors' thread panicked; the process must restart"),
        }
    });
    loops.spawn(wake_to_lead(Arc::clone(core)));
    loops.spawn(keeper::keep(Arc::clone(core), served.to_write));
    loops.spawn(chronicle::write(Arc::clone(core), served.notes));
    loops.spawn(reports::watch(Arc::clone(core)));
    loops.spawn(gauges::keep(Arc::clone(core)));
    Ok(address)
}

/// Wakes the thread whenever its leadership lasts for longer. Runs for ever.
async fn wake_to_lead(core: Arc<Core>) {
    let (mut standing, waker) = (core.leadership.standing(), core.claims.waker());
    while standing.changed().await.is_ok() {
        waker.wake();
    }
}
