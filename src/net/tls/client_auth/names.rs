//! The users whom a client's certificate names (`certificate_user`).

use x509_parser::asn1_rs::{Any, FromDer as _, Oid, Utf8String, oid};
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::X509Certificate;

/// A user principal name, Microsoft's kind of SAN `otherName`.
const UPN: Oid<'static> = oid!(1.3.6.1.4.1.311.20.2.3);
/// The most names of one certificate that are used.
const NAMES_MAX: usize = 100;

/// Which field of a client's certificate names its users (`certificate_user`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum CertificateUser {
    /// The subject's common name (CN), which must be the only one.
    #[default]
    CommonName,
    /// The mail addresses in the subject alternative name (`rfc822Name`).
    Email,
    /// The DNS names in the subject alternative name.
    Dns,
    /// The user principal names in the subject alternative name (`otherName`).
    Upn,
    /// None: the certificate only admits the client, whoever it logs in as.
    Any,
}

/// The users whom a certificate names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CertificateUsers {
    /// `certificate_user: any`.
    Any,
    /// Their names, byte for byte; at least one.
    Named(Vec<String>),
    /// Nobody, and why.
    Nobody(&'static str),
}

impl CertificateUser {
    pub(super) fn of(self, certificate: &X509Certificate<'_>) -> CertificateUsers {
        let names = match self {
            Self::Any => return CertificateUsers::Any,
            Self::CommonName => common_name(certificate),
            Self::Email | Self::Dns | Self::Upn => self.alternative_names(certificate),
        };
        match names {
            Ok(names) if names.iter().all(|name| is_usable(name)) => CertificateUsers::Named(names),
            Ok(_) => {
                CertificateUsers::Nobody("a name in it is empty or contains a control character")
            }
            Err(why) => CertificateUsers::Nobody(why),
        }
    }

    fn alternative_names(
        self,
        certificate: &X509Certificate<'_>,
    ) -> Result<Vec<String>, &'static str> {
        const ABSENT: &str = "its subject alternative name has no name of the kind that \
                              `tls.certificate_user` asks for";
        let extension = certificate.subject_alternative_name();
        let extension = extension.map_err(|_| "its subject alternative name cannot be parsed")?;
        let names = extension.iter().flat_map(|names| &names.value.general_names);
        let names: Vec<_> = names.filter_map(|name| self.name(name)).take(NAMES_MAX).collect();
        if names.is_empty() { Err(ABSENT) } else { Ok(names) }
    }

    fn name(self, name: &GeneralName<'_>) -> Option<String> {
        match (self, name) {
            (Self::Email, GeneralName::RFC822Name(name))
            | (Self::Dns, GeneralName::DNSName(name)) => Some((*name).to_owned()),
            (Self::Upn, GeneralName::OtherName(kind, value)) if *kind == UPN => {
                // [0] EXPLICIT (RFC 5280 section 4.2.1.6).
                let (_, tagged) = Any::from_der(value).ok()?;
                let (_, upn) = Utf8String::from_der(tagged.data).ok()?;
                Some(upn.string())
            }
            _ => None,
        }
    }
}

impl CertificateUsers {
    /// Whether a client with the certificate may log in as `user`.
    pub fn admits(&self, user: &[u8]) -> bool {
        match self {
            Self::Any => true,
            Self::Named(names) => names.iter().any(|name| name.as_bytes() == user),
            Self::Nobody(_) => false,
        }
    }

    /// Whether the certificate says that the client is `user`.
    pub fn names(&self, user: &[u8]) -> bool {
        matches!(self, Self::Named(_)) && self.admits(user)
    }
}

/// Authorities check one name; which of several is the user's would be a guess.
fn common_name(certificate: &X509Certificate<'_>) -> Result<Vec<String>, &'static str> {
    let mut names = certificate.subject().iter_common_name();
    match (names.next(), names.next()) {
        (None, _) => Err("its subject has no common name (CN)"),
        (Some(_), Some(_)) => Err("its subject has more than one common name (CN)"),
        (Some(name), None) => match name.as_str() {
            Ok(name) => Ok(vec![name.to_owned()]),
            Err(_) => Err("its common name (CN) is not in UTF-8"),
        },
    }
}

fn is_usable(name: &str) -> bool {
    !name.is_empty() && !name.chars().any(char::is_control)
}

#[cfg(test)]
mod tests {
    use rcgen::string::{BmpString, Ia5String};
    use rcgen::{
        CertificateParams, DistinguishedName, DnType, DnValue, KeyPair, OtherNameValue, SanType,
    };
    use x509_parser::prelude::FromDer;

    use super::*;

    fn users(
        field: CertificateUser,
        common_names: &[DnValue],
        sans: Vec<SanType>,
    ) -> CertificateUsers {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        for (index, name) in common_names.iter().enumerate() {
            // rcgen keeps one value of a type: the second is written by its OID.
            let kind = match index {
                0 => DnType::CommonName,
                _ => DnType::CustomDnType(vec![2, 5, 4, 3]),
            };
            params.distinguished_name.push(kind, name.clone());
        }
        params.subject_alt_names = sans;
        let made = params.self_signed(&KeyPair::generate().unwrap()).unwrap();
        let (_, certificate) = X509Certificate::from_der(made.der()).unwrap();
        field.of(&certificate)
    }

    fn named(names: &[&str]) -> CertificateUsers {
        CertificateUsers::Named(names.iter().map(|name| (*name).to_owned()).collect())
    }

    fn ia5(text: &str) -> Ia5String {
        text.try_into().unwrap()
    }

    #[test]
    fn a_single_common_name_names_the_user() {
        use CertificateUsers::Nobody;
        let utf8 = |text: &str| DnValue::Utf8String(text.into());
        let bmp = DnValue::BmpString(BmpString::try_from("alice").unwrap());
        for (names, expected) in [
            (vec![utf8("alice")], named(&["alice"])),
            (vec![utf8("alice@payroll")], named(&["alice@payroll"])),
            (vec![utf8("Zoë")], named(&["Zoë"])),
            (vec![], Nobody("its subject has no common name (CN)")),
            (
                vec![utf8("alice"), utf8("bob")],
                Nobody("its subject has more than one common name (CN)"),
            ),
            (vec![bmp], Nobody("its common name (CN) is not in UTF-8")),
        ] {
            assert_eq!(users(CertificateUser::CommonName, &names, vec![]), expected);
        }
        for wrong in ["alice\0", "alice\0.example.com", "a\nb", ""] {
            let users = users(CertificateUser::CommonName, &[utf8(wrong)], vec![]);
            assert!(matches!(users, Nobody(_)), "{wrong:?}");
            assert!(!users.admits(b"alice") && !users.admits(wrong.as_bytes()));
        }
        let alice = users(CertificateUser::CommonName, &[utf8("alice")], vec![]);
        for other in [&b"Alice"[..], b"alice ", b"alice\0", b"bob", b""] {
            assert!(!alice.admits(other), "{other:?}");
        }
        assert!(alice.admits(b"alice") && alice.names(b"alice"));
    }

    #[test]
    fn only_alternative_names_of_the_configured_kind_count() {
        let upn = |text: &str| {
            SanType::OtherName((
                vec![1, 3, 6, 1, 4, 1, 311, 20, 2, 3],
                OtherNameValue::Utf8String(text.into()),
            ))
        };
        let other = SanType::OtherName((vec![1, 2, 3], OtherNameValue::Utf8String("other".into())));
        let sans = vec![
            SanType::DnsName(ia5("host.example.com")),
            SanType::DnsName(ia5("*.example.com")),
            SanType::Rfc822Name(ia5("alice@example.com")),
            upn("alice@corp.example"),
            other,
            SanType::URI(ia5("urn:alice")),
        ];
        let cn = [DnValue::Utf8String("admin".into())];
        let of = |field| users(field, &cn, sans.clone());
        assert_eq!(of(CertificateUser::Email), named(&["alice@example.com"]));
        assert_eq!(of(CertificateUser::Dns), named(&["host.example.com", "*.example.com"]));
        assert_eq!(of(CertificateUser::Upn), named(&["alice@corp.example"]));
        // A wildcard is a name like any other.
        assert!(!of(CertificateUser::Dns).admits(b"bob.example.com"));
        let any = of(CertificateUser::Any);
        assert!(any.admits(b"anybody") && !any.names(b"admin"));
        for field in [CertificateUser::Email, CertificateUser::Dns, CertificateUser::Upn] {
            let none = users(field, &cn, vec![SanType::URI(ia5("urn:admin"))]);
            assert!(matches!(none, CertificateUsers::Nobody(_)) && !none.admits(b"admin"));
        }
        let two =
            vec![SanType::Rfc822Name(ia5("alice@a.example")), SanType::Rfc822Name(ia5("a\0b"))];
        let users = users(CertificateUser::Email, &cn, two);
        assert!(!users.admits(b"alice@a.example"));
    }
}
