//! Scenarios by the ground that they play on.

use anyhow::Result;

use super::{Ground, Scenario, World};

pub(super) const fn on_whole(sentence: &'static str, play: fn(&World) -> Result<()>) -> Scenario {
    Scenario {
        sentence,
        play,
        whole: true,
        ground: Ground::Thirteen,
    }
}

pub(super) const fn on_served(sentence: &'static str, play: fn(&World) -> Result<()>) -> Scenario {
    Scenario {
        ground: Ground::Served,
        ..on_whole(sentence, play)
    }
}

pub(super) const fn on_pair(sentence: &'static str, play: fn(&World) -> Result<()>) -> Scenario {
    Scenario {
        ground: Ground::Pair,
        ..on_whole(sentence, play)
    }
}

/// One that finds a site without hamesh.
pub(super) const fn on_plain(sentence: &'static str, play: fn(&World) -> Result<()>) -> Scenario {
    Scenario {
        whole: false,
        ground: Ground::Plain,
        ..on_whole(sentence, play)
    }
}

/// One that brings up the site that it needs, or takes it down.
pub(super) const fn on_another_site(
    sentence: &'static str,
    play: fn(&World) -> Result<()>,
) -> Scenario {
    Scenario {
        whole: false,
        ..on_whole(sentence, play)
    }
}
