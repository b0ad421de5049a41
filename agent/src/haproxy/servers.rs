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
/// `CHK_RES_PASSED` and `CHK_RES_CONDPASS`: what its last check came to.
const PASSED: [&str; 2] = ["3", "4"];
/// `SRV_ADMF_FDRAIN`: no new sessions, by order.
const DRAINED: u32 = 8;
/// `SRV_ADMF_FMAINT`, `IMAINT`, `CMAINT`, `RMAINT` and `HMAINT`: in maintenance, for any reason.
const IN_MAINTENANCE: u32 = 1 | 2 | 4 | 32 | 64;

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
    /// Whether its last check found it well: right after a reload there was none.
    pub passed: bool,
    /// Whether HAProxy looks at it, and so finds out by itself when it answers again.
    pub checked: bool,
    /// What operators want of it.
    pub admin: Admin,
}

/// What operators, and the configuration, want of a server, as HAProxy counts it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Admin(pub u32);

impl Admin {
    /// It gets no new sessions, by order.
    pub const fn is_drained(self) -> bool {
        self.0 & DRAINED != 0
    }

    /// It is out of use, and whoever wants that is not asked.
    pub const fn in_maintenance(self) -> bool {
        self.0 & IN_MAINTENANCE != 0
    }
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
        let admin: u32 = fields.get("srv_admin_state")?.parse().ok()?;
        Some(Server {
            backend: text("be_name")?,
            name: text("srv_name")?,
            at: (text("srv_addr")?, text("srv_port")?),
            up: admin == 0 && SERVING.contains(fields.get("srv_op_state")?),
            passed: PASSED.contains(fields.get("srv_check_result")?),
            checked: check & CHECK_ENABLED != 0 && check & CHECK_PAUSED == 0,
            admin: Admin(admin),
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
        let told = servers.iter().map(|it| {
            let (backend, name) = (it.backend.as_str(), it.name.as_str());
            (backend, name, it.up, it.passed, it.checked)
        });
        assert_eq!(
            told.collect::<Vec<_>>(),
            [
                ("web", "a", true, true, true),
                ("web", "b", false, true, true),
                ("web", "c", true, false, false),
                ("db", "a", false, true, true),
                ("db", "b", true, true, false),
            ]
        );
        let drained: Vec<bool> = servers.iter().map(|it| it.admin.is_drained()).collect();
        assert_eq!(drained, [false, false, false, true, false]);
        assert_eq!(servers[1].at, ("127.0.0.1".to_owned(), "18082".to_owned()));
    }

    #[test]
    fn what_operators_want_is_read_bit_by_bit() {
        for (state, drained, in_maintenance) in [
            (0, false, false),
            (1, false, true),
            (8, true, false),
            (9, true, true),
            (16, false, false),
            (32, false, true),
            (64, false, true),
        ] {
            let admin = Admin(state);
            let told = (admin.is_drained(), admin.in_maintenance());
            assert_eq!(told, (drained, in_maintenance), "{state}");
        }
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
