use super::*;

fn to(uri: &str) -> Destination {
    Destination::of(&uri.parse().unwrap()).unwrap_or_else(|| panic!("{uri} leads nowhere"))
}

fn policy(allow: &[&str], private: &[&str]) -> Policy {
    Policy {
        allow: allow.iter().map(|rule| rule.parse().unwrap()).collect(),
        private: private.iter().map(|rule| rule.parse().unwrap()).collect(),
    }
}

#[test]
fn addresses_are_classified_by_where_their_packets_end_up() {
    use AddressClass::*;
    let cases = [
        ("8.8.8.8", Public),
        ("1.1.1.1", Public),
        ("172.32.0.1", Public),
        ("100.128.0.1", Public),
        ("2606:4700::1111", Public),
        ("127.0.0.1", Loopback),
        ("127.255.255.254", Loopback),
        ("::1", Loopback),
        ("::ffff:127.0.0.1", Loopback),
        ("::127.0.0.1", Loopback),
        ("64:ff9b::7f00:1", Loopback),
        ("2002:7f00:1::", Loopback),
        ("10.1.2.3", Private),
        ("172.16.0.1", Private),
        ("172.31.255.255", Private),
        ("192.168.0.1", Private),
        ("fd12:3456::1", Private),
        ("fec0::1", Private),
        ("::ffff:10.0.0.1", Private),
        ("100.64.0.1", Shared),
        ("169.254.1.1", LinkLocal),
        ("fe80::1", LinkLocal),
        ("169.254.169.254", Metadata),
        ("::ffff:169.254.169.254", Metadata),
        ("64:ff9b::a9fe:a9fe", Metadata),
        ("169.254.170.2", Metadata),
        ("100.100.100.200", Metadata),
        ("192.0.0.192", Metadata),
        ("168.63.129.16", Metadata),
        ("fd00:ec2::254", Metadata),
        ("fd20:ce::254", Metadata),
        ("224.0.0.1", Multicast),
        ("239.255.255.255", Multicast),
        ("255.255.255.255", Multicast),
        ("ff02::1", Multicast),
        ("0.0.0.0", Unspecified),
        ("0.1.2.3", Unspecified),
        ("::", Unspecified),
        ("::ffff:0.0.0.0", Unspecified),
        ("192.0.2.1", Reserved),
        ("198.18.0.1", Reserved),
        ("198.51.100.1", Reserved),
        ("203.0.113.1", Reserved),
        ("240.0.0.1", Reserved),
        ("2001:db8::1", Reserved),
        ("2001::1", Reserved),
        ("100::1", Reserved),
        ("4000::1", Reserved),
    ];
    for (address, class) in cases {
        assert_eq!(
            AddressClass::of(address.parse().unwrap()),
            class,
            "{address}"
        );
    }
}

#[test]
fn every_spelling_of_a_host_is_one_host() {
    let cases = [
        ("http://127.0.0.1/", "127.0.0.1"),
        ("http://127.1/", "127.0.0.1"),
        ("http://0x7f.0.0.1/", "127.0.0.1"),
        ("http://0177.0.0.1/", "127.0.0.1"),
        ("http://2130706433/", "127.0.0.1"),
        ("http://0x7f000001/", "127.0.0.1"),
        ("http://127.0.0.1./", "127.0.0.1"),
        ("http://[::ffff:7f00:1]/", "[::ffff:127.0.0.1]"),
        ("http://[0:0:0:0:0:0:0:1]/", "[::1]"),
        ("https://API.Example.COM./v1", "api.example.com"),
        ("https://api.example.com:8443/", "api.example.com:8443"),
        ("https://user:password@api.example.com/", "api.example.com"),
    ];
    for (uri, host) in cases {
        assert_eq!(to(uri).to_string(), host, "{uri}");
    }
    for uri in [
        "ftp://example.com/",
        "/only/a/path",
        "http://./",
        "http://1.2.3.4.5/",
    ] {
        assert_eq!(Destination::of(&uri.parse().unwrap()), None, "{uri}");
    }
}

#[test]
fn rules_match_scheme_host_and_port() {
    let cases = [
        ("https://api.example.com", "https://api.example.com/x", true),
        ("api.example.com", "https://API.example.com./x", true),
        ("api.example.com", "http://api.example.com/", false),
        ("api.example.com", "https://api.example.com:444/", false),
        ("api.example.com", "https://example.com/", false),
        (
            "api.example.com",
            "https://api.example.com.evil.net/",
            false,
        ),
        (
            "api.example.com:8443,9443",
            "https://api.example.com:9443/",
            true,
        ),
        ("api.example.com:8443", "https://api.example.com/", false),
        (
            "http://api.example.com:*",
            "http://api.example.com:1234/",
            true,
        ),
        ("*.example.com", "https://a.b.example.com/", true),
        ("*.example.com", "https://example.com/", false),
        ("*.example.com", "https://evilexample.com/", false),
        ("*", "https://anything.net/", true),
        ("*", "http://anything.net/", false),
        ("http://8.8.8.8", "http://8.8.8.8/", true),
        ("http://8.8.8.8", "http://134744072/", true),
        (
            "http://[2606:4700::1111]:8080",
            "http://[2606:4700::1111]:8080/",
            true,
        ),
    ];
    for (rule, uri, allowed) in cases {
        let outcome = policy(&[rule], &[]).check_name(&to(uri));
        assert_eq!(outcome.is_ok(), allowed, "{rule} for {uri}: {outcome:?}");
    }
    assert!(
        Policy::default()
            .check_name(&to("https://example.com"))
            .is_err()
    );
}

#[test]
fn rules_that_cannot_be_meant_are_refused() {
    for rule in [
        "",
        "ftp://x",
        "https://a/b",
        "a*.b",
        "x:0",
        "x:65536",
        "x:",
        "*.1.2.3.4",
        "u@h",
    ] {
        assert!(rule.parse::<HostRule>().is_err(), "{rule:?}");
    }
    for rule in ["", "*", "10.0.0.0/33", "a/b", "a*b"] {
        assert!(rule.parse::<HostOrCidr>().is_err(), "{rule:?}");
    }
}

#[test]
fn rules_are_shown_as_they_are_written() {
    for rule in [
        "https://*.example.com:8443,9443",
        "http://[::1]:*",
        "https://*",
        "http://h",
    ] {
        assert_eq!(rule.parse::<HostRule>().unwrap().to_string(), rule);
    }
    for rule in ["10.0.0.0/8", "127.0.0.1", "*.internal", "db"] {
        assert_eq!(rule.parse::<HostOrCidr>().unwrap().to_string(), rule);
    }
}

#[test]
fn inside_addresses_need_their_own_grant() {
    // rules, host, the address it resolves to, allowed
    let cases: &[(&[&str], &str, &str, bool)] = &[
        (&[], "h", "8.8.8.8", true),
        (&[], "h", "127.0.0.1", false),
        (&["h"], "h", "127.0.0.1", true),
        (&["h"], "h", "10.0.0.1", true),
        (&["h"], "h", "100.64.0.1", true),
        (&["h"], "h", "fd00::1", true),
        (&["other"], "h", "10.0.0.1", false),
        (&["*.corp"], "db.corp", "10.0.0.1", true),
        (&["10.0.0.0/8"], "h", "10.9.9.9", true),
        (&["10.0.0.0/8"], "h", "::ffff:10.9.9.9", true),
        (&["10.0.0.0/8"], "h", "192.168.0.1", false),
        // A name leads to the local network at most.
        (&["h"], "h", "169.254.1.1", false),
        (&["h"], "h", "169.254.169.254", false),
        (&["h"], "h", "0.0.0.0", false),
        (&["h"], "h", "224.0.0.1", false),
        (&["169.254.0.0/16"], "h", "169.254.1.1", true),
        // Metadata services only by their exact address.
        (&["169.254.0.0/16"], "h", "169.254.169.254", false),
        (&["0.0.0.0/0"], "h", "169.254.169.254", false),
        (&["fd00::/8"], "h", "fd00:ec2::254", false),
        (&["169.254.169.254"], "h", "169.254.169.254", true),
        (&["169.254.169.254/32"], "h", "169.254.169.254", true),
        (&["fd00:ec2::254"], "h", "fd00:ec2::254", true),
    ];
    for (private, host, address, allowed) in cases {
        let to = to(&format!("https://{host}/"));
        let outcome = policy(&["*"], private).check_addresses(&to, vec![address.parse().unwrap()]);
        assert_eq!(
            outcome.is_ok(),
            *allowed,
            "{private:?} {host} {address}: {outcome:?}"
        );
    }
}

#[test]
fn literal_addresses_are_checked_without_resolution() {
    for uri in [
        "http://127.0.0.1/",
        "http://2130706433/",
        "http://[::ffff:169.254.169.254]/",
        "http://0/",
    ] {
        let denied = policy(&["http://*"], &[]).check_name(&to(uri)).unwrap_err();
        assert!(
            matches!(denied.why, WhyDenied::Address { .. }),
            "{uri}: {denied}"
        );
    }
}

#[test]
fn of_several_addresses_the_allowed_ones_are_used() {
    let found = ["10.0.0.1", "8.8.8.8", "::1"]
        .map(|address| address.parse().unwrap())
        .to_vec();
    let allowed = policy(&["*"], &[])
        .check_addresses(&to("https://h/"), found)
        .unwrap();
    assert_eq!(allowed, ["8.8.8.8".parse::<IpAddr>().unwrap()]);
}

#[test]
fn a_refusal_says_what_why_and_how_to_allow_it() {
    let policy = policy(&["https://*"], &[]);
    let not_granted = policy
        .check_name(&to("http://h:8080/secret?key=1"))
        .unwrap_err();
    assert_eq!(
        not_granted.to_string(),
        "h:8080 is not among the granted hosts; grant the host \"http://h:8080\""
    );
    let inside = policy
        .check_addresses(&to("https://h/"), vec!["127.0.0.1".parse().unwrap()])
        .unwrap_err();
    assert_eq!(
        inside.to_string(),
        "h leads to 127.0.0.1, a loopback address; grant the private address \"h\""
    );
    let literal = policy
        .check_name(&to("https://169.254.169.254/"))
        .unwrap_err();
    assert_eq!(
        literal.to_string(),
        "169.254.169.254 is a metadata service address; grant the private address \
         \"169.254.169.254\""
    );
}
