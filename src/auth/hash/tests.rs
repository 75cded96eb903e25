//! Hashes that other programs made, and what is refused.

use super::*;

/// Of `open sesame`, each made by another program: perl's crypt(3) with libxcrypt, openssl, and Python's
/// hashlib in the formats of passlib, SFTPGo and Django.
const HASHES: [(Scheme, &str); 13] = [
    (Scheme::Yescrypt, "$y$j9T$abcdefghijklmnop$eGyjAiVfgW5OYCicb.sdOKKTHoUXqY6W9IY0nTUzXz7"),
    (
        Scheme::ShaCrypt,
        "$6$rounds=1000$saltsalt$/IiX/CoEcxCZ9SksEXnbjfCT1LGvD4z5OpJkaFYl/\
         T37OAwuKZ8I8BixDhruhPLkw6lS7dw/6wQWgQnGo7lLg/",
    ),
    (Scheme::ShaCrypt, "$5$saltsalt$yrhPKxCqiWcCE9h0g86j6Ugz7SDFdFm.BjU.d8RaQnC"),
    (Scheme::Md5Crypt, "$1$saltsalt$Yo6tRKYGO/jWyb1etwHDS/"),
    (Scheme::Md5Crypt, "$apr1$saltsalt$HIDXe7D36X22w1CH4M1cQ."),
    (Scheme::Bcrypt, "$2b$04$abcdefghijklmnopqrstuu/LVz6MZlItEy42I2juLihZ66HnQx/cy"),
    (
        Scheme::Scrypt,
        "$scrypt$ln=10,r=8,p=2$c2FsdHNhbHRzYWx0c2FsdA$BYu4iZnS5JNg2IK2rGbM0/TOtRJu6idg18NFsoApYh8",
    ),
    (
        Scheme::Pbkdf2,
        "$pbkdf2-sha256$i=1000,l=32$c2FsdHNhbHRzYWx0c2FsdA$GDAYJJtfElk+xpdigX69OXyhgz3//WebdzIiNpVdWzI",
    ),
    (
        Scheme::Pbkdf2,
        "$pbkdf2-sha256$1000$c2FsdHNhbHRzYWx0c2FsdA$GDAYJJtfElk.xpdigX69OXyhgz3//WebdzIiNpVdWzI",
    ),
    (
        Scheme::Pbkdf2,
        "$pbkdf2-sha256$1000$saltsaltsaltsalt$GDAYJJtfElk+xpdigX69OXyhgz3//WebdzIiNpVdWzI=",
    ),
    (
        Scheme::Pbkdf2,
        "$pbkdf2-b64salt-sha256$1000$c2FsdHNhbHRzYWx0c2FsdA==$GDAYJJtfElk+xpdigX69OXyhgz3//WebdzIiNpVdWzI=",
    ),
    (
        Scheme::Pbkdf2,
        "pbkdf2_sha256$1000$saltsaltsaltsalt$GDAYJJtfElk+xpdigX69OXyhgz3//WebdzIiNpVdWzI=",
    ),
    (
        Scheme::Pbkdf2,
        "$pbkdf2-sha512$1000$c2FsdHNhbHRzYWx0c2FsdA$rH49.GBQQx.aYjqU0IInq11GDr/\
         1FQfVhpQimzZghULOfU0fmOq15gw/nXRodl5UvFUiO8.Ojg16CfAC1o0KQg",
    ),
];

#[test]
fn hashes_of_other_programs_are_verified() {
    for (scheme, text) in HASHES {
        let hash = PasswordHash::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
        assert_eq!(hash.scheme(), scheme, "{text}");
        assert!(hash.verify(b"open sesame"), "{text}");
        for wrong in [&b"open barley"[..], b"", b"open sesame ", b"Open sesame"] {
            assert!(!hash.verify(wrong), "{text}: {}", wrong.escape_ascii());
        }
        assert_eq!(hash.weakness().is_some(), scheme == Scheme::Md5Crypt, "{text}");
    }
}

/// Each length takes another path through the mixing of MD5-crypt. Made by `openssl passwd -1`.
#[test]
fn md5_crypt_of_every_length_is_verified() {
    for (password, hash) in [
        ("", "$1$s$iXWZU0LDEJ7Jjmms7KFsH0"),
        ("x", "$1$s$eSlDmdCX8nqs9SNxRTvrN."),
        ("0123456789abcdef", "$1$s$s4GxODGyIRXlp2tPq4Rql."),
        ("0123456789abcdef0123456789abcdef0", "$1$s$dFe.9vbXs6.oyxxV8OSuD1"),
    ] {
        assert!(PasswordHash::parse(hash).unwrap().verify(password.as_bytes()), "{password}");
    }
}

#[test]
fn new_hashes_are_verified() {
    for (kind, start) in [
        (HashKind::Argon2id, "$argon2id$v=19$m=19456,t=2,p=1$"),
        (HashKind::Pbkdf2, "$pbkdf2-sha512$i=210000,l=64$"),
    ] {
        let text = hash_password(b"open sesame", kind).unwrap();
        assert!(text.starts_with(start), "{text}");
        let hash = PasswordHash::parse(&text).unwrap();
        assert!(hash.verify(b"open sesame") && !hash.verify(b"open barley"), "{text}");
        assert_ne!(hash_password(b"open sesame", kind).unwrap(), text);
    }
}

#[test]
fn damaged_hashes_are_refused() {
    for (_, text) in HASHES {
        for damaged in [
            &text[..text.len() - 3],
            &format!("{text}AAAA"),
            &text.replacen("salt", "ö", 1).replacen("c2Fs", "ö", 1).replacen("abcd", "ö", 1),
            text.rsplit_once('$').unwrap().0,
            &text.replacen("1000", "0", 1).replacen("ln=10", "ln=99", 1).replacen("04", "03", 1),
        ] {
            let unchanged = damaged == text;
            assert!(unchanged || PasswordHash::parse(damaged).is_err(), "{damaged}");
        }
    }
    assert_eq!(PasswordHash::parse(&format!("${}", "x".repeat(2000))), Err(HashError::Invalid));
}

#[test]
fn weak_and_unknown_hashes_are_refused_with_their_kind() {
    for (text, expected) in [
        ("open sesame", "is not a password hash"),
        ("", "is not a password hash"),
        ("$$", "is an invalid password hash"),
        ("=19456,t=2,p=1$c29t$aVzg", "is not a password hash"),
        ("abJnggxhB/yWI", "is a hash of kind DES"),
        ("_J9..rasmBYk8r9AiWNc", "is a hash of kind BSDi DES"),
        ("5f4dcc3b5aa765d61d8327deb882cf99", "is a hash of kind MD5 or SHA without a salt"),
        ("{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g=", "is a hash of kind {SHA}"),
        ("{PLAIN}secret", "is a hash of kind {PLAIN}"),
        ("$argon2i$v=19$m=64,t=1,p=1$c29tZXNhbHQ$aVzg", "is a hash of kind argon2i, "),
        ("$2x$04$abcdefghijklmnopqrstuu/LVz6MZlItEy42I2juLihZ66HnQx/cy", "kind bcrypt 2x"),
        ("$3$$8846f7eaee8fb117ad06bdd830b7586c", "is a hash of kind NT"),
        ("$sha1$1$a$b", "is a hash of kind sha1, which is not accepted: it is not known"),
    ] {
        let error = PasswordHash::parse(text).expect_err(text).to_string();
        assert!(error.contains(expected), "{text}: {error}");
        assert!(!error.contains("secret"), "{error}");
    }
}

#[test]
fn hashes_that_ask_for_too_much_are_refused() {
    let rest = "c29tZXNhbHQxMjM0NTY$aVzgv0C4t3lnL2cvvQ7gvAdbKI2WvX7FBVCMFsCr2lM";
    let sha = "saltsalt$yrhPKxCqiWcCE9h0g86j6Ugz7SDFdFm.BjU.d8RaQnC";
    for (text, limit) in [
        (format!("$argon2id$v=19$m=1048577,t=1,p=1${rest}"), "1025 MiB of memory; at most 1024 "),
        (
            format!("$argon2id$v=19$m=1048576,t=5,p=1${rest}"),
            "5120 MiB of memory in all passes; at most 4096 ",
        ),
        (format!("$scrypt$ln=21,r=8,p=1${rest}"), "2048 MiB of memory; at most 1024 "),
        (format!("$scrypt$ln=1,r=1,p=4294967295${rest}"), "MiB of memory"),
        (format!("$scrypt$ln=63,r=4294967295,p=4294967295${rest}"), "MiB of memory"),
        (format!("$pbkdf2-sha256$i=10000001${rest}"), "10000001 iterations; at most 10000000 "),
        (format!("$5$rounds=5000001${sha}"), "5000001 rounds; at most 5000000 "),
        (
            "$2b$16$abcdefghijklmnopqrstuu/LVz6MZlItEy42I2juLihZ66HnQx/cy".to_owned(),
            "16 doublings (bcrypt's cost); at most 15 ",
        ),
        ("$y$jJT$abcdefghijklmnop$eGyjAiVfgW5OYCicb.sdOKKTHoUXqY6W9IY0nTUzXz7".to_owned(), "MiB"),
    ] {
        let error = PasswordHash::parse(&text).expect_err(&text).to_string();
        assert!(error.contains(limit), "{text}: {error}");
    }
}

#[test]
fn equal_parameters_have_equal_costs() {
    let cost = |at: usize| PasswordHash::parse(HASHES[at].1).unwrap().cost().clone();
    // passlib's, SFTPGo's, Django's and lockgate's form of the same work.
    assert!((7..12).all(|at| cost(at) == cost(7)));
    let all: std::collections::BTreeSet<_> = (0..HASHES.len()).map(cost).collect();
    assert_eq!(all.len(), 8, "{all:?}");
}

#[test]
fn a_password_that_is_too_long_is_wrong() {
    let long = [b'x'; PASSWORD_MAX + 1];
    let hash = |password: &[u8]| hash_password(password, HashKind::Argon2id).unwrap();
    let most = PasswordHash::parse(&hash(&long[..PASSWORD_MAX])).unwrap();
    assert!(most.verify(&long[..PASSWORD_MAX]));
    assert!(!most.verify(&long));
}
