use super::*;

const EXAMPLE: &str = include_str!("../../config/strongroom.example.toml");

fn refused(text: &str) -> String {
    Config::parse(Path::new("config/x.toml"), text).unwrap_err().to_string()
}

fn parsed(text: &str) -> Config {
    Config::parse(Path::new("config/x.toml"), text).unwrap()
}

#[test]
fn an_unknown_key_is_refused_with_its_line_and_the_nearest_known_key() {
    assert_eq!(
        refused("region = \"eu-west-1\"\n\nlsiten = \"127.0.0.1:1\"\n"),
        "config/x.toml:3: unknown key 'lsiten'; did you mean 'listen'?"
    );
    assert_eq!(
        refused("[limits]\nidle_second = 4\n"),
        "config/x.toml:2: unknown key 'idle_second'; did you mean 'idle_seconds'?"
    );
    assert_eq!(refused("[tls]\nzzz = 4\n"), "config/x.toml:2: unknown key 'zzz'; known here: certificate, key, names");
}

#[test]
fn a_wrong_type_or_value_is_refused_with_its_line() {
    assert_eq!(
        refused("\n[limits]\nstreams = \"many\"\n"),
        "config/x.toml:3: streams: expected an integer from 0 to 4294967295, found a string"
    );
    assert_eq!(refused("listen = 9000"), "config/x.toml:1: listen: expected a string, found the integer 9000");
    let wanted = "expected an IP address (no host name) and a port, such as 127.0.0.1:9000 or [::]:9000";
    assert_eq!(refused("listen = \"localhost:9000\""), format!("config/x.toml:1: listen: {wanted}"));
    assert_eq!(refused("http_listen = \"9000\""), format!("config/x.toml:1: http_listen: {wanted}"));
    assert_eq!(parsed("http_listen = \"[::1]:1\"").http_listen.unwrap().port(), 1);
    assert_eq!(
        refused("[limits]\nstreams = -1"),
        "config/x.toml:2: streams: expected an integer from 0 to 4294967295, found the integer -1"
    );
    assert_eq!(refused("[log]\nformat = \"xml\""), "config/x.toml:2: format: expected auto, human or json");
    assert_eq!(
        refused("[kms]\nroot_key_protection = \"pass\""),
        "config/x.toml:2: root_key_protection: expected none, passphrase or kms"
    );
    assert!(refused("region = \"EU West\"").contains(":1: region: "));
    assert!(refused("a = = 1").starts_with("config/x.toml:1: "));
}

#[test]
fn secrets_are_in_no_message_and_no_debug_form() {
    let text = "[[accounts]]\nid = \"111122223333\"\naccess_key_id = \"AKIAIOSFODNN7EXAMPLE\"\nsecret_access_key = ";
    assert!(!refused(&format!("{text}\"short\"")).contains("short"));
    let config = parsed(&format!("{text}\"wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY\""));
    assert_eq!(config.accounts[0].secret_access_key.expose(), b"wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY");
    assert!(!format!("{config:?}").contains("wJalr"));
}

#[test]
fn a_missing_part_of_an_account_is_named() {
    assert_eq!(refused("[[accounts]]\nid = \"111122223333\"\n"), "config/x.toml:1: missing key 'access_key_id'");
}

#[test]
fn contradictions_are_refused() {
    let contradiction = |text: &str| parsed(text).consistent().unwrap_err().to_string();
    assert!(contradiction("[tls]\ncertificate = \"a.pem\"").contains("together"));
    assert!(contradiction("[root]\naccess_key_id = \"AKIAIOSFODNN7EXAMPLE\"").contains("together"));
    assert_eq!(contradiction("[limits]\nconnections = 0"), "limits.connections must be at least 1");
    assert_eq!(contradiction("[limits]\nheader_bytes = 100"), "limits.header_bytes must be at least 8192");
    assert!(contradiction("http_listen = \"127.0.0.1:9000\"").contains("differ"));
    for (option, value) in [("stdout", "true"), ("syslog", "\"udp://localhost:514\""), ("webhook", "\"https://h\"")] {
        let told = contradiction(&format!("[audit]\nenabled = false\n{option} = {value}"));
        assert_eq!(told, format!("audit.{option} needs audit.enabled"));
    }
    let account = "[[accounts]]\nid = \"111122223333\"\naccess_key_id = \"AKIAIOSFODNN7EXAMPLE\"\n\
                   secret_access_key = \"wJalrXUtnFEMI/K7MDENG\"\n";
    assert!(contradiction(&account.repeat(2)).contains("declared twice"));
    assert!(parsed(account).consistent().is_ok());
    let target = "[[notifications.targets]]\narn = \"arn:aws:sns:us-east-1:000000000000:t\"\nurl = \"https://h\"\n";
    assert!(contradiction(&target.repeat(2)).contains("declared twice"));
    let told = contradiction(&format!("{target}subject = \"s\"\n"));
    assert!(told.ends_with(":t: subject means nothing with such a url"), "{told}");
    assert!(contradiction("[replication]\npart_mib = 4").contains("part_mib"));
    assert!(contradiction("[replication]\nat_once = 0").contains("at_once"));
    for (section, option) in [
        ("lifecycle", "interval_seconds"),
        ("lifecycle", "day_seconds"),
        ("inventory", "objects_per_second"),
        ("audit", "digest_seconds"),
        ("s3", "access_log_seconds"),
        ("notifications", "max_age_hours"),
        ("notifications", "max_waiting"),
        ("replication", "max_age_hours"),
    ] {
        let told = contradiction(&format!("[{section}]\n{option} = 0"));
        assert_eq!(told, format!("{section}.{option} must be at least 1"));
    }
    assert!(contradiction("[store]\ncache_mib = 4000000000").contains("at most"));
    assert!(parsed("[store]\ncache_mib = 1048576").consistent().is_ok());
}

#[test]
fn no_account_is_another_by_its_canonical_id() {
    let contradiction = |text: &str| parsed(text).consistent().unwrap_err().to_string();
    let account = |digit: &str, canonical_id: &str| {
        format!(
            "[[accounts]]\nid = \"{}\"\ncanonical_id = \"{canonical_id}\"\naccess_key_id = \"{}\"\n\
             secret_access_key = \"wJalrXUtnFEMI/K7MDENG\"\n",
            digit.repeat(12),
            digit.repeat(16),
        )
    };
    let (one, other) = ("a1".repeat(32), "b2".repeat(32));
    assert!(parsed(&[account("1", &one), account("2", &other)].concat()).consistent().is_ok());
    let told = contradiction(&[account("1", &one), account("2", &one)].concat());
    assert_eq!(told, "the canonical id of the account 222222222222 is another account's too");
    assert!(contradiction(&format!("[root]\ncanonical_id = \"{one}\"\n{}", account("1", &one))).contains("another"));
    // The root's, which it has if it is given none.
    let of_root = AccountId::default().canonical_id();
    assert!(contradiction(&account("1", of_root.as_str())).contains("111111111111 is another account's too"));
    assert!(contradiction(&account("1", EC2_CANONICAL_ID)).contains("that of Amazon EC2"));
}

#[test]
fn bytes_leave_the_machine_over_tls_alone() {
    let destination = |endpoint: &str| {
        format!(
            "[[replication.destinations]]\nbucket = \"arn:aws:s3:::b\"\nendpoint = \"{endpoint}\"\n\
             access_key_id = \"AKIAIOSFODNN7EXAMPLE\"\nsecret_access_key = \"wJalrXUtnFEMI/K7MDENG\"\n"
        )
    };
    let target = |url: &str| {
        format!("[[notifications.targets]]\narn = \"arn:aws:sns:us-east-1:000000000000:t\"\nurl = \"{url}\"\n")
    };
    let wanted = "expected an https:// URL (http:// to this machine alone)";
    for there in ["http://s3.example.com", "http://127.0.0.1.example.com", "http://localhost@example.com"] {
        assert_eq!(refused(&destination(there)), format!("config/x.toml:3: endpoint: {wanted}"), "{there}");
        assert_eq!(refused(&target(there)), format!("config/x.toml:3: url: {wanted}"), "{there}");
    }
    for there in ["https://s3.example.com", "http://127.0.0.1:9000", "http://[::1]:9000/", "http://localhost"] {
        assert!(parsed(&destination(there)).consistent().is_ok(), "{there}");
        assert!(parsed(&target(there)).consistent().is_ok(), "{there}");
    }
    assert!(refused(&destination("ftp://h")).contains(wanted));
    assert!(refused(&destination("https://h").replace("arn:aws:s3:::b", "x")).contains("bucket: expected the ARN of"));
    assert!(
        refused(&target("https://h").replace("arn:aws:sns:us-east-1:000000000000:t", "x")).contains("arn: expected")
    );
}

#[test]
fn a_proxy_is_an_address_or_a_network() {
    let proxies = parsed("trusted_proxies = [\"127.0.0.1\", \"2001:db8::1\", \"192.0.2.0/24\"]").trusted_proxies;
    let shown: Vec<String> = proxies.iter().map(ToString::to_string).collect();
    assert_eq!(shown, ["127.0.0.1/32", "2001:db8::1/128", "192.0.2.0/24"]);
    assert_eq!(
        refused("trusted_proxies = [\"proxy\"]"),
        "config/x.toml:1: trusted_proxies: expected an IP address or a network such as 192.0.2.0/24"
    );
}

#[test]
fn what_stands_in_an_array_is_refused_with_the_arrays_key() {
    assert!(refused("trusted_proxies = [\"10.0.0.0/8\",\n \"x\"]").starts_with("config/x.toml:2: trusted_proxies: "));
    assert!(refused("base_domains = [\"s3\",\n \"S3\"]").starts_with("config/x.toml:2: base_domains: "));
    assert!(refused("base_domains = [\"S3\"]").starts_with("config/x.toml:1: base_domains: expected a domain name"));
    assert!(refused("[tls]\nnames = [\"*.foo bar\"]").starts_with("config/x.toml:2: names: expected a domain name"));
    assert_eq!(refused("base_domains = [1]"), "config/x.toml:1: base_domains: expected a string, found the integer 1");
    assert_eq!(refused("limits = 4"), "config/x.toml:1: limits: expected a table, found the integer 4");
}

#[test]
fn key_services_go_together() {
    let contradiction = |text: &str| parsed(text).consistent().unwrap_err().to_string();
    let bao = "[[kms.transit]]\nname = \"bao\"\naddress = \"https://bao\"\n";
    assert!(parsed(bao).consistent().is_ok());
    assert!(parsed(&format!("[kms]\ndefault_service = \"bao\"\n{bao}")).consistent().is_ok());
    assert!(contradiction("[kms]\ndefault_service = \"bao\"").contains("there is no key service 'bao'"));
    assert!(contradiction(&bao.repeat(2)).contains("declared twice"));
    assert!(contradiction(&bao.replace("\"bao\"", "\"embedded\"")).contains("embedded one's name"));
    assert!(contradiction(&format!("{bao}create_default_key = true")).contains("needs default_key"));
    assert!(contradiction(&format!("{bao}login = \"approle\"")).contains("needs role"));
    assert!(contradiction(&format!("{bao}login = \"kubernetes\"")).contains("needs role"));
    assert!(contradiction(&format!("{bao}role = \"r\"")).contains("another login"));
    assert!(contradiction("[kms.remote]\nattempts = 0").contains("kms.remote.attempts"));
    for address in ["http://bao", "bao", "ftp://bao", "http://localhost.example.com", "https://user@bao"] {
        assert!(refused(&bao.replace("https://bao", address)).contains("address: expected"), "{address}");
    }
    assert!(parsed(&bao.replace("https://bao", "http://127.0.0.1:8200")).consistent().is_ok());
    assert!(refused(&bao.replace("\"bao\"", "\"alias\"")).contains("name: expected"));
    let aws = |name: &str, more: &str| format!("[[kms.aws]]\nname = \"{name}\"\n{more}\n");
    assert!(parsed(&[bao, &aws("aws", "fips = true")].concat()).consistent().is_ok());
    assert!(contradiction(&[aws("a", ""), aws("b", "")].concat()).contains("'a' and 'b' are of one region"));
    let account = |digit: &str| format!("account_id = \"{}\"", digit.repeat(12));
    assert!(parsed(&[aws("a", &account("1")), aws("b", &account("2"))].concat()).consistent().is_ok());
    assert!(parsed(&[aws("a", ""), aws("b", "region = \"eu-west-1\"")].concat()).consistent().is_ok());
    assert!(contradiction(&[aws("a", ""), aws("b", "region = \"us-east-1\"")].concat()).contains("of one region"));
    assert!(contradiction(&[aws("a", &account("1")), aws("b", "")].concat()).contains("of one region"));
    assert!(contradiction(&aws("a", "create_default_key = true\ndefault_key = \"1234\"")).contains("an alias"));
    assert_eq!(refused("[[kms.transit]]\nname = \"bao\""), "config/x.toml:1: missing key 'address'");
    let cached = format!("{bao}unwrap_cache = true");
    assert!(contradiction(&cached).contains("'bao': unwrap_cache needs kms.unwrap_cache_entries"));
    assert!(contradiction(&aws("a", "unwrap_cache = true")).contains("unwrap_cache needs"));
    assert!(parsed(&format!("[kms]\nunwrap_cache_entries = 1\n{cached}")).consistent().is_ok());
    for option in ["root_key_kms_key = \"bao/k\"", "root_key_passphrase_file = \"/p\""] {
        let told = contradiction(&format!("[kms]\n{option}\n{bao}"));
        let name = option.split(' ').next().unwrap();
        assert!(told.starts_with(&format!("kms.{name} is given, but kms.root_key_protection is \"none\"")), "{told}");
    }
    assert!(
        parsed("[kms]\nroot_key_protection = \"passphrase\"\nroot_key_passphrase_file = \"/p\"").consistent().is_ok()
    );
    let sealed = |more: &str| format!("[kms]\nroot_key_protection = \"kms\"\n{more}\n{bao}");
    assert!(parsed(&sealed("root_key_kms_key = \"bao/k\"")).consistent().is_ok());
    assert!(contradiction(&sealed("")).contains("needs root_key_kms_key, as SERVICE/KEY"));
    for key in ["bao", "bao/", "/"] {
        assert!(contradiction(&sealed(&format!("root_key_kms_key = \"{key}\""))).contains("as SERVICE/KEY"), "{key}");
    }
    for key in ["embedded/k", "other/k"] {
        assert!(
            contradiction(&sealed(&format!("root_key_kms_key = \"{key}\""))).contains("across the network"),
            "{key}"
        );
    }
}

/// The example with every option taken out of its comment.
fn uncommented() -> String {
    let option = |line: &str| {
        line.strip_prefix("#")
            .filter(|rest| {
                rest.starts_with('[')
                    || rest.split_once(" = ").is_some_and(|(key, _)| !key.contains(' ') && !key.is_empty())
            })
            .unwrap_or(line)
            .to_owned()
    };
    EXAMPLE.lines().map(option).collect::<Vec<_>>().join("\n")
}

#[test]
fn the_example_parses_as_it_stands_and_with_every_option_taken_out_of_its_comment() {
    let plain = parsed(EXAMPLE);
    assert_eq!(format!("{plain:?}"), format!("{:?}", Config::default()), "the example changes nothing");
    // What seals the root key is shown too, and the default is that nothing does.
    let sealed = uncommented().replace("root_key_protection = \"none\"", "root_key_protection = \"kms\"");
    let full = parsed(&sealed).consistent().unwrap();
    assert_eq!(full.accounts.len(), 1);
}

#[test]
fn the_example_shows_every_option_and_its_default() {
    let table: toml::Table = uncommented().parse().unwrap();
    let sections = [
        ("", Config::OPTIONS),
        ("root", Root::OPTIONS),
        ("tls", Tls::OPTIONS),
        ("kms", Kms::OPTIONS),
        ("kms.remote", RemoteCalls::OPTIONS),
        ("store", Store::OPTIONS),
        ("s3", S3::OPTIONS),
        ("sts", Sts::OPTIONS),
        ("lifecycle", Lifecycle::OPTIONS),
        ("inventory", Inventory::OPTIONS),
        ("notifications", Notifications::OPTIONS),
        ("replication", Replication::OPTIONS),
        ("audit", Audit::OPTIONS),
        ("limits", Limits::OPTIONS),
        ("log", Log::OPTIONS),
    ];
    for (section, options) in sections {
        let parts = section.split('.').filter(|part| !part.is_empty());
        let shown = parts.fold(&table, |table, part| table[part].as_table().unwrap());
        for option in options {
            assert!(shown.contains_key(*option), "{section}.{option} is missing from the example");
        }
    }
    let account = table["accounts"].as_array().unwrap()[0].as_table().unwrap();
    assert!(Account::OPTIONS.iter().all(|option| account.contains_key(*option)));
    let first = |services: &str| table["kms"][services].as_array().unwrap()[0].as_table().unwrap();
    assert!(TransitService::OPTIONS.iter().all(|option| first("transit").contains_key(*option)));
    assert!(AwsService::OPTIONS.iter().all(|option| first("aws").contains_key(*option)));
    for (section, items, options) in [
        ("notifications", "targets", NotificationTarget::OPTIONS),
        ("replication", "destinations", ReplicationDestination::OPTIONS),
    ] {
        // Of several kinds, each shows what it has.
        let shown = table[section][items].as_array().unwrap();
        let is_shown = |option: &&&str| shown.iter().any(|item| item.as_table().unwrap().contains_key(**option));
        let missing: Vec<_> = options.iter().filter(|option| !is_shown(option)).collect();
        assert!(missing.is_empty(), "{section}.{items}: {missing:?}");
    }
    let full = parsed(&uncommented());
    assert_eq!(format!("{:?}", full.kms.remote), format!("{:?}", RemoteCalls::default()));
    assert_eq!(format!("{:?}", full.limits), format!("{:?}", Limits::default()));
    // By default it follows from the memory.
    assert_eq!((full.store.cache_mib, Store::default().cache_mib), (Some(1024), None));
    assert_eq!(format!("{:?}", full.log), format!("{:?}", Log::default()));
    assert_eq!((full.listen, full.data_dir), (Config::default().listen, Config::default().data_dir));
}
