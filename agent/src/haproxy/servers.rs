//! How HAProxy's servers are, as `show servers state` tells it (management guide of HAProxy 2.6,
//! section 9.3). Pure.

use std::collections::BTreeMap;

/// The question.
pub const QUESTION: &str = "show servers state";

/// `SRV_ST_STARTING` and `SRV_ST_RUNNING`: what may get requests.
const SERVING: [&str; 2] = ["1", "2"];
/// `CHK_ST_ENABLED` and `CHK_ST_PAUSED`, bits of a check's state.
const CHECK_ENABLED: u32 = 4;
const CHECK_PAUSED: u32 = 8;

/// One server of one backend.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    /// Its backend.
    pub backend: String,
    /// Its name there.
    pub name: String,
    /// Where it is: address and port.
    pub at: (String, String),
    /// Whether it gets requests.
    pub up: bool,
    /// Whether HAProxy looks at it, and so finds out by itself when it answers again.
    pub checked: bool,
}

/// Reads the answer; `None`: it is none.
pub fn read(answer: &str) -> Option<Vec<Server>> {
    let mut lines = answer.lines().filter(|line| !line.trim().is_empty());
    (lines.next()?.trim() == "1").then_some(())?;
    let names: Vec<&str> = lines
        .next()?
        .strip_prefix('#')?
        .split_whitespace()
        .collect();
    let server = |line: &str| {
        let fields: BTreeMap<&str, &str> =
            names.iter().copied().zip(line.split_whitespace()).collect();
        let text = |name| fields.get(name).map(|field| (*field).to_owned());
        let check: u32 = fields.get("srv_check_state")?.parse().ok()?;
        let admin = *fields.get("srv_admin_state")?;
        Some(Server {
            backend: text("be_name")?,
            name: text("srv_name")?,
            at: (text("srv_addr")?, text("srv_port")?),
            up: admin == "0" && SERVING.contains(fields.get("srv_op_state")?),
            checked: check & CHECK_ENABLED != 0 && check & CHECK_PAUSED == 0,
        })
    };
    lines.map(server).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of HAProxy 2.6.12, but for the last two lines: one that is being drained, one whose checks
    /// are paused.
    const ANSWER: &str = "1
# be_id be_name srv_id srv_name srv_addr srv_op_state srv_admin_state srv_uweight srv_iweight \
srv_time_since_last_change srv_check_status srv_check_result srv_check_health srv_check_state \
srv_agent_state bk_f_forced_id srv_f_forced_id srv_fqdn srv_port srvrecord srv_use_ssl \
srv_check_port srv_check_addr srv_agent_addr srv_agent_port
3 web 1 a 127.0.0.1 2 0 1 1 2 15 3 3 6 0 0 0 - 18081 - 0 0 - - 0
3 web 2 b 127.0.0.1 0 0 1 1 2 15 3 0 7 0 0 0 - 18082 - 0 0 - - 0
3 web 3 c 127.0.0.1 2 0 1 1 2 1 0 2 0 0 0 0 - 18083 - 0 0 - - 0
4 db 1 a 127.0.0.1 2 8 1 1 2 9 3 4 6 0 0 0 - 18081 - 0 18443 - - 18443
4 db 2 b 127.0.0.1 2 0 1 1 2 9 3 4 14 0 0 0 - 18081 - 0 18443 - - 18443
";

    #[test]
    fn states_are_read_by_the_names_of_their_columns() {
        let servers = read(ANSWER).expect("states");
        let told: Vec<_> = servers
            .iter()
            .map(|it| (it.backend.as_str(), it.name.as_str(), it.up, it.checked))
            .collect();
        assert_eq!(
            told,
            [
                ("web", "a", true, true),
                ("web", "b", false, true),
                ("web", "c", true, false),
                ("db", "a", false, true),
                ("db", "b", true, false),
            ]
        );
        assert_eq!(servers[1].at, ("127.0.0.1".to_owned(), "18082".to_owned()));
    }

    #[test]
    fn what_is_no_such_answer_tells_nothing() {
        for text in ["", "Permission denied", "2\n# be_name\n", "1\nweb a"] {
            assert_eq!(read(text), None, "{text}");
        }
        let short = ANSWER.replace(" 6 0 0 0 - 18081", "");
        assert_eq!(read(&short), None);
    }
}
