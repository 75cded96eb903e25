//! Attributes that a backend cannot set (`unsupported_attributes`).

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use prometheus::{IntCounterVec, Registry};

use crate::metrics;
use crate::op::{Changes, Failure, FailureKind};

/// The reply to a client that sets an attribute which the backend cannot set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum UnsupportedAttributes {
    /// The request fails as unsupported.
    #[default]
    Refuse,
    /// Success: otherwise some clients consider the upload failed and delete it.
    Ignore,
}

/// Counts ignored attributes, over all backends.
#[derive(Clone)]
pub struct IgnoredAttributes(IntCounterVec);

impl IgnoredAttributes {
    /// Registers `lockgate_attributes_ignored_total`.
    pub fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let counter = metrics::counters(
            registry,
            "lockgate_attributes_ignored_total",
            "Attributes that a backend could not set, for which the client still got a success reply",
            &["backend", "attribute"],
        )?;
        Ok(Self(counter))
    }

    #[cfg(test)]
    pub(crate) fn for_test() -> Self {
        Self::register(&Registry::new()).expect("a registry of its own")
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Attribute {
    Times,
    Permissions,
    Owner,
}

impl Attribute {
    const ALL: [Self; 3] = [Self::Times, Self::Permissions, Self::Owner];

    /// The label `attribute` of `lockgate_attributes_ignored_total`.
    fn as_str(self) -> &'static str {
        match self {
            Self::Times => "times",
            Self::Permissions => "permissions",
            Self::Owner => "owner",
        }
    }
}

/// The setting of one backend.
#[derive(Clone)]
pub(super) struct AttributePolicy {
    policy: UnsupportedAttributes,
    backend: Arc<str>,
    ignored: IgnoredAttributes,
    /// A bit for each attribute that was logged.
    logged: Arc<AtomicU8>,
}

impl AttributePolicy {
    pub(super) fn new(
        backend: &str,
        policy: UnsupportedAttributes,
        ignored: &IgnoredAttributes,
    ) -> Self {
        let (ignored, logged) = (ignored.clone(), Arc::default());
        if policy == UnsupportedAttributes::Ignore {
            // From the start, so that the first one is visible as an increase.
            for attribute in Attribute::ALL {
                ignored.0.with_label_values(&[backend, attribute.as_str()]);
            }
        }
        Self { policy, backend: backend.into(), ignored, logged }
    }

    pub(super) fn ignores(&self) -> bool {
        self.policy == UnsupportedAttributes::Ignore
    }

    /// `Ok` where the backend does not support the attribute and that is ignored. Any other failure is
    /// returned.
    pub(super) fn judge(&self, attribute: Attribute, failure: Failure) -> Result<(), Failure> {
        if !self.ignores() || failure.kind != FailureKind::Unsupported {
            return Err(failure);
        }
        self.ignored.0.with_label_values(&[&*self.backend, attribute.as_str()]).inc();
        let bit = 1 << attribute as u8;
        if self.logged.fetch_or(bit, Ordering::Relaxed) & bit == 0 {
            tracing::info!(
                attribute = attribute.as_str(),
                reason = failure.message,
                detail = failure.detail,
                "the backend cannot set an attribute; clients get a success reply all the same \
                 (unsupported_attributes: ignore)"
            );
        }
        Ok(())
    }

    /// As [`AttributePolicy::judge`], of a request that the backend accepts or refuses as a whole. A size
    /// is never ignored.
    pub(super) fn judge_all(&self, changes: &Changes, failure: Failure) -> Result<(), Failure> {
        if changes.size.is_some() {
            return Err(failure);
        }
        for (is_changed, attribute) in [
            (changes.owner.is_some(), Attribute::Owner),
            (changes.permissions.is_some(), Attribute::Permissions),
            (changes.accessed.is_some() || changes.modified.is_some(), Attribute::Times),
        ] {
            if is_changed {
                self.judge(attribute, failure.clone())?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unsupported() -> Failure {
        Failure::backend(FailureKind::Unsupported, "it cannot")
    }

    #[test]
    fn only_unsupported_attributes_are_ignored() {
        let ignored = IgnoredAttributes::for_test();
        let count = |attribute| ignored.0.with_label_values(&["b", attribute]).get();
        let ignoring = AttributePolicy::new("b", UnsupportedAttributes::Ignore, &ignored);
        assert!(ignoring.judge(Attribute::Times, unsupported()).is_ok());
        assert!(ignoring.clone().judge(Attribute::Times, unsupported()).is_ok());
        for kind in [FailureKind::NotFound, FailureKind::PermissionDenied, FailureKind::Internal] {
            let failure = Failure::backend(kind, "no");
            assert_eq!(ignoring.judge(Attribute::Times, failure).unwrap_err().kind, kind);
        }
        assert_eq!((count("times"), count("owner")), (2, 0));
        let refusing = AttributePolicy::new("b", UnsupportedAttributes::Refuse, &ignored);
        assert!(refusing.judge(Attribute::Times, unsupported()).is_err());
        assert_eq!(count("times"), 2);
    }

    #[test]
    fn a_size_is_never_ignored() {
        let ignored = IgnoredAttributes::for_test();
        let ignoring = AttributePolicy::new("b", UnsupportedAttributes::Ignore, &ignored);
        let both = Changes { owner: Some((1, 1)), ..Changes::modified(1) };
        assert!(ignoring.judge_all(&both, unsupported()).is_ok());
        let count = |attribute| ignored.0.with_label_values(&["b", attribute]).get();
        assert_eq!((count("times"), count("owner"), count("permissions")), (1, 1, 0));
        let with_size = Changes { size: Some(1), ..both };
        assert!(ignoring.judge_all(&with_size, unsupported()).is_err());
    }
}
