//! The first bytes of a load balancer's connection: the PROXY protocol, versions 1 and 2.

#![no_main]

use libfuzzer_sys::fuzz_target;
use lockgate::wire::proxy::{Header, MAX_V2_HEADER, decode, encode};

fuzz_target!(|bytes: &[u8]| {
    match decode(bytes) {
        Ok(None) => assert!(bytes.len() < MAX_V2_HEADER),
        Ok(Some(decoded)) => {
            assert!(decoded.length <= bytes.len().min(MAX_V2_HEADER));
            // Bytes after the header do not matter, and a shorter input is incomplete.
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
