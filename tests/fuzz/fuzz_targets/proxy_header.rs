//! What a load balancer says first on a connection: the PROXY protocol, versions 1 and 2.

#![no_main]

use libfuzzer_sys::fuzz_target;
use lockgate::wire::proxy::{Header, MAX_V2, decode, encode};

fuzz_target!(|bytes: &[u8]| {
    match decode(bytes) {
        Ok(None) => assert!(bytes.len() < MAX_V2),
        Ok(Some(decoded)) => {
            assert!(decoded.length <= bytes.len().min(MAX_V2));
            // Nothing behind it matters, and nothing less is enough.
            assert_eq!(decode(&bytes[..decoded.length]), Ok(Some(decoded)));
            assert_eq!(decode(&bytes[..decoded.length - 1]), Ok(None));
            if let Header::Proxied { source, destination } = decoded.header {
                let again = decode(&encode(source, destination));
                assert_eq!(again.map(|d| d.map(|d| d.header)), Ok(Some(decoded.header)));
            }
        }
        Err(_) => {}
    }
});
