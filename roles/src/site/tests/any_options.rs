//! Any options that a document can set.

use proptest::collection::{btree_map, btree_set, vec};
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;

use super::*;
use crate::checks::{CheckKind, DEFAULT_EVERY, SHORTEST_TIMEOUT};

type Proxies = (
    Option<EdgeProxy>,
    Option<InternalProxy>,
    BTreeMap<PackageName, PackageVersion>,
);

fn word<W: std::str::FromStr<Err = crate::words::BadWord>>(text: &str) -> W {
    text.parse().expect("a word of its kind")
}

prop_compose! {
    pub(super) fn any_backups()(
        every in 600..2_678_400u64,
        keep in 1..1000u32,
        name in "[ -~&&[^/]]{1,9}|é",
    ) -> Backups {
        let every = Duration::from_secs(every);
        Backups { every, keep, directory: format!("/srv/{name}.d").into() }
    }
}

prop_compose! {
    /// An edge that forwards nowhere yet.
    fn any_edge()(
        names in btree_set("[a-z0-9]{1,4}(\\.[a-z]{2,3}){0,2}|null|1e3", 1..4),
        certificate in select(&CertificateSource::ALL[..]),
        hsts in option::of(0..63_072_000u64),
        headers in btree_map("X-[A-Z][a-z]{3}", "[!-~]{1,9}( [!-~]{1,9}){0,2}", 0..4),
        rate_limit in option::of((1..1_000_000u32, 1_000..3_600_000u64)),
    ) -> EdgeProxy {
        EdgeProxy {
            names: names.iter().map(|name| word(name)).collect(),
            certificate,
            forward_to: word_of_vip("nowhere"),
            hsts: hsts.map(Duration::from_secs),
            headers: headers.iter().map(|(name, value)| (word(name), word(value))).collect(),
            rate_limit: rate_limit.map(|(requests, per)| RateLimit {
                requests,
                per: Duration::from_millis(per),
            }),
        }
    }
}

fn word_of_vip(name: &str) -> VipName {
    name.parse().expect("a name")
}

prop_compose! {
    pub(super) fn any_proxies()(
        edge in option::of(any_edge()),
        web in option::of((select(&Role::ALL[2..]), 1..=u16::MAX, "/[a-z0-9?=&%:,~.-]{0,9}")),
        packages in btree_map("[a-z][a-z0-9+.-]{1,8}|null", "[0-9][a-z0-9+.:~-]{0,8}", 0..3),
    ) -> Proxies {
        let internal = web.map(|(role, port, check)| InternalProxy {
            web: WebBackends { role, port, check: word(&check) },
        });
        let packages = packages.iter().map(|(name, version)| (word(name), word(version)));
        (edge, internal, packages.collect())
    }
}

prop_compose! {
    pub(super) fn any_database()(
        durability in select(&Durability::ALL[..]),
        databases in btree_map("[a-oq-z][a-z0-9_]{0,8}|null|_", "[a-oq-z][a-z0-9_]{0,8}|no", 0..4),
    ) -> DatabaseCluster {
        let taken = |name: &String| DatabaseCluster::TAKEN.contains(&name.as_str());
        let databases = databases.iter().filter(|(name, owner)| !taken(name) && !taken(owner));
        let databases = databases.map(|(name, owner)| (word(name), word(owner))).collect();
        DatabaseCluster { durability, databases }
    }
}

fn any_kind() -> impl Strategy<Value = CheckKind> {
    prop_oneof![
        "[a-zA-Z0-9:_.\\\\-]{1,9}(@[a-z0-9]{1,3})?".prop_map(|stem| {
            CheckKind::Process(format!("{stem}.service").parse().expect("a unit"))
        }),
        (any::<bool>(), 1..=u16::MAX).prop_map(|(six, port)| {
            CheckKind::Tcp(std::net::SocketAddr::new(host(six, 0, 7), port))
        }),
        (any::<bool>(), 1..=u16::MAX, "/[a-z0-9/%,{}'!*&?=~.-]{0,20}").prop_map(
            |(six, port, path)| {
                let server = std::net::SocketAddr::new(host(six, 0, 7), port);
                CheckKind::Http(format!("http://{server}{path}").parse().expect("a URL"))
            }
        ),
        vec("[^\0]{0,12}", 0..5).prop_map(|mut words| {
            words.insert(0, "/bin/test".to_owned());
            CheckKind::Command(words.try_into().expect("a command"))
        }),
    ]
}

prop_compose! {
    pub(super) fn any_check()(
        kind in any_kind(),
        every in prop_oneof![
            Just(DEFAULT_EVERY),
            (100..=3_600_000u64).prop_map(Duration::from_millis)
        ],
        timeout in option::of(0..=3_600_000u64),
        rise in 1..=100u32,
        fall in 1..=100u32,
        degrades in any::<bool>(),
    ) -> Check {
        let mut check = Check::new(kind);
        check.every = every;
        check.timeout = crate::checks::default_timeout(every);
        check.rise = rise;
        check.degrades = degrades;
        if !check.kind.is_watched() {
            check.fall = fall;
            if let Some(ms) = timeout {
                check.timeout = Duration::from_millis(ms).clamp(SHORTEST_TIMEOUT, every);
            }
        }
        check
    }
}
