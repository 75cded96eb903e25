//! Files written by ssh-keygen and by hand.

use super::*;

const ED25519: &str =
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAINfrjCXbDwDVdi+bR2t4chwP9NnmCMDpII+K+9hcx6yS";

const SECOND: &str =
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAj3u7gstvsyGy8EX35NKoKGUbBR0tzqdYZ/Fdcfb8EG";

const ECDSA: &str = concat!(
    "ecdsa-sha2-nistp256 AAAAE2VjZHNhLXNoYTItbmlzdHAyNTYAAAAIbmlzdHAyNTYAAABBBGjCHYbe",
    "aR0pRbZUkwe/msYmuZ53oO2xziMRsrPAZAZlaaHKRUPC+ya3jshjeyX7vuGP9kahggDeB0uou+Wf608=",
);

const RSA: &str = concat!(
    "ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAABAQDCYFWDCX2c+nVdk+5TFFbAHPF5KM+XjsvvuUre/eOV",
    "FTtt4Xpzr5CC+JyOg5yKMwOoi/+rSGsFDqKpRnYXzNlukub0hX/2vbR+vp4lheu8F9CwWxg2DSuFgxnB",
    "vZ/sD0cQBh1al8ev3wbscc6R1SrY7LoFNfrU1Re25B0EjtnLhyhquwjZL/N2fArDkB865I4i71yhzL5+",
    "uGV0WMcjNXnqn0TJKbNBNUjOnhRBbooLZKw9MnFgWzNMPoWOV34tk516gChmGpBeB+M8+T02xlADr/FP",
    "VghiqWEPPOVUZ8QYkWa+4amgkdv01+X6uuVRnbvMWyYDu61ALzNGV5CZGaiL",
);

/// 1024 bits.
const WEAK_RSA: &str = concat!(
    "ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAAAgQCqeSyzLfwIX1irR/DXL7jAPIERfPHftdpZOHMQm+hm",
    "/TsWDGlYXzje7wF5iBRigo8mFuZNZUNeum6RKuW1PtjXraz2o8lGbm07lkfCcguGogLIHpWwXh10yMPq",
    "dFe798egEKkbdXfTsZLDdLtc/6YyBbOpQHnAHCWQl7ZjOolM+w==",
);

const ANYWHERE: &str = "203.0.113.9";

fn key(text: &str) -> PublicKey {
    PublicKey::from_openssh(text).unwrap()
}

fn parsed(text: &str) -> AuthorizedKeys {
    AuthorizedKeys::parse(text).unwrap_or_else(|bad| panic!("{text}\n{bad:?}"))
}

fn admits(keys: &AuthorizedKeys, text: &str, source: &str) -> bool {
    keys.admits(&key(text), source.parse().unwrap()).is_ok()
}

#[track_caller]
fn refused(line: &str, message: &str) {
    let bad = AuthorizedKeys::parse(line).err().unwrap_or_else(|| panic!("accepted: {line}"));
    assert_eq!(bad.len(), 1);
    assert!(bad[0].to_string().starts_with("line 1 "), "{}", bad[0]);
    assert!(bad[0].reason.contains(message), "{message}\n{}", bad[0]);
}

#[test]
fn keys_of_all_kinds_are_parsed_with_comments() {
    let text = format!(
        "# the team\n\n{ED25519} alice@example.com\r\n  {ECDSA}\n{RSA} a comment \"with\" blanks, #1\n"
    );
    let keys = parsed(&text);
    for known in [ED25519, ECDSA, RSA] {
        assert!(admits(&keys, known, ANYWHERE));
    }
    assert!(!admits(&keys, SECOND, ANYWHERE));
    assert!(parsed("# nobody\n").is_empty() && !admits(&parsed(""), ED25519, ANYWHERE));
}

#[test]
fn the_keys_of_several_files_are_admitted() {
    let mut keys = parsed(ED25519);
    keys.extend(parsed(SECOND));
    assert!(admits(&keys, ED25519, ANYWHERE) && admits(&keys, SECOND, ANYWHERE));
}

#[test]
fn every_invalid_line_is_reported() {
    let bad = AuthorizedKeys::parse(&format!("{ED25519}\nnonsense\n\n{WEAK_RSA}\n")).err().unwrap();
    assert_eq!(bad.iter().map(|bad| bad.line).collect::<Vec<_>>(), [2, 4]);
}

#[test]
fn weak_invalid_and_unsupported_keys_are_refused() {
    refused(WEAK_RSA, "RSA key of 1024 bits");
    refused(&ED25519[..60], "an invalid key");
    refused(&ED25519.replace("ssh-ed25519", "ssh-rsa"), "an invalid key");
    refused(&ED25519.replace("ssh-ed25519", "ssh-ed25519-cert-v01@openssh.com"), "a certificate");
    refused(&ED25519.replace("ssh-ed25519", "sk-ssh-ed25519@openssh.com"), "security key");
    refused("ssh-ed25519", "an invalid key");
    refused(ED25519.split(' ').nth(1).unwrap(), "is not a key");
    refused("-----BEGIN OPENSSH PRIVATE KEY-----", "has no key type");
}

#[test]
fn options_without_effect_are_accepted() {
    for options in ["restrict", "no-pty,no-X11-forwarding,NO-PORT-FORWARDING", "restrict,pty"] {
        assert!(admits(&parsed(&format!("{options} {ED25519} c")), ED25519, ANYWHERE));
    }
    let options = r#"permitopen="[::1]:22",restrict,tunnel="1""#;
    assert!(admits(&parsed(&format!("{options}\t {ED25519}")), ED25519, ANYWHERE));
}

#[test]
fn unsupported_and_malformed_options_are_refused() {
    for (options, message) in [
        (r#"command="rsync --server" "#, "`command`, which is not supported"),
        (r#"command="echo \"a, b\" c",restrict"#, "`command`, which"),
        (r#"environment="A=b""#, "`environment`"),
        ("cert-authority", "listeners with `trusted_user_ca_keys`"),
        (r#"principals="a,b""#, "listeners with `trusted_user_ca_keys`"),
        ("verify-required", "unknown option `verify-required`"),
        ("from", "`from` without a value"),
        ("expiry-time", "`expiry-time` without a value"),
        ("from=192.0.2.1", "an unquoted value"),
        (r#"from="192.0.2.1"#, "an unclosed quotation mark"),
        (r#"from="192.0.2.1",from="192.0.2.2""#, "`from` twice"),
        (r#"from="192.0.2.1"x"#, "text between"),
        ("restrict,", "comma after"),
        (",restrict", "invalid option"),
    ] {
        refused(&format!("{options} {ED25519}"), message);
    }
    refused("restrict", "is not a key");
}

#[test]
fn from_limits_the_source() {
    let from = |patterns: &str| parsed(&format!(r#"from="{patterns}" {ED25519}"#));
    for (patterns, source, admitted) in [
        ("192.0.2.1", "192.0.2.1", true),
        ("192.0.2.1", "192.0.2.10", false),
        ("192.0.2.1", "::ffff:192.0.2.1", true),
        ("192.0.2.0/24,2001:db8::/32", "192.0.2.77", true),
        ("192.0.2.0/24,2001:db8::/32", "2001:db8:1::7", true),
        ("192.0.2.0/24,2001:db8::/32", "198.51.100.1", false),
        ("192.0.2.*", "192.0.2.200", true),
        ("192.0.2.?", "192.0.2.20", false),
        ("2001:DB8:*", "2001:db8::1", true),
        ("*", "198.51.100.1", true),
        ("!192.0.2.5,192.0.2.0/24", "192.0.2.5", false),
        ("192.0.2.0/24,!192.0.2.5", "192.0.2.5", false),
        ("192.0.2.0/24,!192.0.2.5", "192.0.2.6", true),
        // Only negated patterns match nobody.
        ("!192.0.2.5", "192.0.2.6", false),
    ] {
        assert_eq!(admits(&from(patterns), ED25519, source), admitted, "{patterns} {source}");
    }
    for pattern in ["host.example.com", "*.cafe", "!bad.example.com", "", "192.0.2.1,", "[a-z]*"] {
        refused(&format!(r#"from="{pattern}" {ED25519}"#), "names are not looked up");
    }
    for pattern in ["192.0.2.1/24", "192.0.2.0/33", "::ffff:192.0.2.0/120"] {
        refused(&format!(r#"from="{pattern}" {ED25519}"#), "is not a network");
    }
}

fn admission(keys: &AuthorizedKeys, now: i64) -> Result<(), KeyRefused> {
    keys.admits_at(&key(ED25519), ANYWHERE.parse().unwrap(), now)
}

#[test]
fn a_refusal_has_its_reason() {
    for (line, expected) in [
        (SECOND.to_owned(), KeyRefused::Unknown),
        (format!(r#"from="192.0.2.1" {ED25519}"#), KeyRefused::Source),
        (format!(r#"expiry-time="20200101" {ED25519}"#), KeyRefused::Expired),
        // The reason of the line with this key, not of other lines.
        (format!("expiry-time=\"20200101\" {ED25519}\n{SECOND}"), KeyRefused::Expired),
    ] {
        assert_eq!(admission(&parsed(&line), 1_795_378_500), Err(expected), "{line}");
    }
}

#[test]
fn a_key_is_refused_from_its_expiry_time_on() {
    // 2026-11-22 20:15:00 UTC
    let moment = 1_795_378_500;
    let until = |time: &str| parsed(&format!(r#"expiry-time="{time}" {ED25519}"#));
    let admits = |keys: AuthorizedKeys, now| admission(&keys, now).is_ok();
    for time in ["202611222015", "20261122201500", "202611222015Z"] {
        assert!(admits(until(time), moment - 1), "{time}");
        assert!(!admits(until(time), moment), "{time}");
    }
    assert!(admits(until("20261123"), moment) && !admits(until("20261122"), moment));
    let both = format!(r#"expiry-time="20261123",expiry-time="20261121" {ED25519}"#);
    assert!(!admits(parsed(&both), moment));
    // The same key without restrictions on another line is admitted.
    assert!(admits(parsed(&format!("{both}\n{ED25519}")), moment));
    for time in
        ["2026112", "20261322", "20260230", "202611222460", "tomorrow", "", "+1w", "2026é122"]
    {
        refused(&format!(r#"expiry-time="{time}" {ED25519}"#), "write YYYYMMDD");
    }
}

proptest::proptest! {
    /// Any text before or instead of a key.
    #[test]
    fn arbitrary_lines_do_not_panic(text in "[a-z=\",\\\\ !*/.:0-9é#-]{0,60}", with_key: bool) {
        let line = if with_key { format!("{text} {ED25519}") } else { text };
        let _ = AuthorizedKeys::parse(&line).map(|keys| admits(&keys, ED25519, ANYWHERE));
    }
}
