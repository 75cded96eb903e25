//! scrypt (RFC 7914), in PHC format, as passlib writes it, too: `$scrypt$ln=16,r=8,p=1$SALT$HASH`.

use argon2::password_hash::{Output, PasswordHash, Salt};
use scrypt::{Params, scrypt};

use super::cost::{Cost, limit_memory};
use super::{HashError, is_key_length};

pub(super) fn cost(text: &str) -> Result<Cost, HashError> {
    let hash = PasswordHash::new(text).map_err(|_| HashError::Invalid)?;
    let (ln, r, p) = parameters(&hash).ok_or(HashError::Invalid)?;
    let is_complete = hash.hash.is_some_and(|hash| is_key_length(hash.len()));
    if hash.salt.is_none() || !is_complete {
        return Err(HashError::Invalid);
    }
    let block = 128 * u64::from(r);
    let (memory, passes) = (block.checked_shl(ln.into()), u64::from(p));
    // A shift of all bits out, such as by 63, is not noticed by `checked_shl`.
    let memory = memory.filter(|memory| ln < 32 && memory >> ln == block).unwrap_or(u64::MAX);
    limit_memory(memory, passes)?;
    limit_memory(block.saturating_mul(passes), 1)?;
    Ok(Cost::new(format_args!("scrypt ln={ln} r={r} p={p}")))
}

pub(super) fn verify(password: &[u8], text: &str) -> bool {
    is_correct(password, text).unwrap_or(false)
}

fn is_correct(password: &[u8], text: &str) -> Option<bool> {
    let hash = PasswordHash::new(text).ok()?;
    let (ln, r, p) = parameters(&hash)?;
    let params = Params::new(ln, r, p).ok()?;
    let mut bytes = [0; Salt::MAX_LENGTH];
    let salt = hash.salt?.decode_b64(&mut bytes).ok()?;
    let expected = hash.hash?;
    let mut computed = [0; Output::MAX_LENGTH];
    let computed = &mut computed[..expected.len()];
    scrypt(password, salt, &params, computed).ok()?;
    // In constant time.
    Some(Output::new(computed).ok()? == expected)
}

fn parameters(hash: &PasswordHash<'_>) -> Option<(u8, u32, u32)> {
    let number = |name| hash.params.get_decimal(name);
    let (ln, r, p) = (number("ln")?, number("r")?, number("p")?);
    let ln = u8::try_from(ln).ok().filter(|ln| (1..64).contains(ln))?;
    (r > 0 && p > 0).then_some((ln, r, p))
}
