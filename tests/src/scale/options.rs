//! The command line of the bench.

use clap::Parser;

use super::layout::MOST_AGENTS;

/// Many agents with two claims each against one leader.
#[derive(Clone, Debug, Parser)]
#[command(name = "tests/bench/scale", max_term_width = 100)]
pub struct Options {
    /// How many agents, one size after the other; even numbers
    #[arg(long, value_delimiter = ',', default_value = "100,300,1000", value_parser = agents)]
    pub agents: Vec<u32>,
    /// How long each size is watched once every claim is held
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u64).range(5..=3600))]
    pub seconds: u64,
}

fn agents(text: &str) -> Result<u32, String> {
    let even = text
        .parse()
        .ok()
        .filter(|number: &u32| (2..=MOST_AGENTS).contains(number) && number.is_multiple_of(2));
    even.ok_or_else(|| format!("write an even number, 2 to {MOST_AGENTS}"))
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        Options::command().debug_assert();
        let usual = Options::parse_from(["scale"]);
        assert_eq!((usual.agents, usual.seconds), (vec![100, 300, 1000], 30));
    }

    #[test]
    fn agents_come_in_pairs() {
        let given = |text: &str| Options::try_parse_from(["scale", "--agents", text]);
        assert!(given("10,20").is_ok());
        for wrong in ["11", "0", "1002", "many", ""] {
            assert!(given(wrong).is_err(), "{wrong}");
        }
    }
}
