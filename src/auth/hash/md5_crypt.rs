//! MD5-crypt, `$1$SALT$HASH`, and Apache's variant `$apr1$SALT$HASH`: as FreeBSD's crypt(3) defined it.

use aws_lc_rs::constant_time::verify_slices_are_equal;
use md5::{Digest, Md5};
use zeroize::Zeroizing;

use super::cost::Cost;
use super::{HashError, is_crypt64};

const ROUNDS: usize = 1000;
const ALPHABET: &[u8; 64] = b"./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
/// Which bytes of the digest stand together.
const ORDER: [[usize; 3]; 5] = [[0, 6, 12], [1, 7, 13], [2, 8, 14], [3, 9, 15], [4, 10, 5]];

pub(super) fn cost(text: &str) -> Result<Cost, HashError> {
    parse(text).ok_or(HashError::Invalid)?;
    Ok(Cost::new(format_args!("md5-crypt")))
}

pub(super) fn verify(password: &[u8], text: &str) -> bool {
    let Some((magic, salt, hash)) = parse(text) else { return false };
    let computed = encode(&digest(password, magic.as_bytes(), salt.as_bytes()));
    verify_slices_are_equal(&computed, hash.as_bytes()).is_ok()
}

/// The kind with its dollar signs, the salt, the hash.
fn parse(text: &str) -> Option<(&str, &str, &str)> {
    let magic = ["$1$", "$apr1$"].into_iter().find(|magic| text.starts_with(magic))?;
    let (salt, hash) = text[magic.len()..].split_once('$')?;
    let is_salt = salt.bytes().all(|byte| byte.is_ascii_graphic());
    let is_valid = is_salt && (1..=8).contains(&salt.len()) && hash.len() == 22;
    (is_valid && hash.bytes().all(is_crypt64)).then_some((magic, salt, hash))
}

fn digest(password: &[u8], magic: &[u8], salt: &[u8]) -> Zeroizing<[u8; 16]> {
    let inner = md5(&[password, salt, password]);
    let mut first = Md5::new();
    first.update(password);
    first.update(magic);
    first.update(salt);
    let mut left = password.len();
    while left > 0 {
        first.update(&inner[..left.min(16)]);
        left = left.saturating_sub(16);
    }
    let mut bits = password.len();
    while bits > 0 {
        first.update(if bits & 1 == 1 { &[0] } else { &password[..1] });
        bits >>= 1;
    }
    let mut digest = Zeroizing::new(<[u8; 16]>::from(first.finalize()));
    for round in 0..ROUNDS {
        let (odd, none) = (round & 1 == 1, &[][..]);
        let (begin, end) = if odd { (password, &digest[..]) } else { (&digest[..], password) };
        let salted = if round % 3 == 0 { none } else { salt };
        let repeated = if round % 7 == 0 { none } else { password };
        digest = md5(&[begin, salted, repeated, end]);
    }
    digest
}

fn md5(parts: &[&[u8]]) -> Zeroizing<[u8; 16]> {
    let mut md5 = Md5::new();
    parts.iter().for_each(|part| md5.update(part));
    Zeroizing::new(md5.finalize().into())
}

fn encode(digest: &[u8; 16]) -> Vec<u8> {
    let mut text = Vec::with_capacity(22);
    let mut push = |mut bits: usize, characters: usize| {
        for _ in 0..characters {
            text.push(ALPHABET[bits & 63]);
            bits >>= 6;
        }
    };
    for group in ORDER {
        let [a, b, c] = group.map(|at| usize::from(digest[at]));
        push(a << 16 | b << 8 | c, 4);
    }
    push(digest[11].into(), 2);
    text
}
