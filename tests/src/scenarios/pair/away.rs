//! No coordinator while agents restart: the whole of it is `tests/soak/coordinator-away`.

use std::time::Duration;

use anyhow::Result;

use super::{CLAIM, settled};
use crate::scenarios::World;
use crate::soak;

/// Long enough for three restarts.
const SPAN: Duration = Duration::from_secs(25);

/// Nothing moves, and no connection fails for the restart of a standby's agent.
pub fn restarts(world: &World) -> Result<()> {
    let (holder, _) = settled(&world.site, CLAIM)?;
    let away = soak::coordinator_away(&world.site.lab, holder, SPAN)?;
    away.judge()?;
    settled(&world.site, CLAIM).map(drop)
}
