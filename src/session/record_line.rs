//! The format of records in the log.

/// A record: the session, the fields of the event, and the failure.
macro_rules! record_line {
    (
        ($level:expr, $event:expr, $who:expr, $failure:expr),
        { $($fields:tt)* },
        $($message:tt)+
    ) => {{
        let failure: Option<&$crate::op::Failure> = $failure;
        tracing::event!(
            target: "lockgate::record",
            $level,
            event = $event,
            session = $who.session,
            peer = %$who.peer,
            listener = $who.listener,
            protocol = $who.protocol,
            user = $who.user.as_slice(),
            backend = $who.backend,
            $($fields)*
            fault = failure.map(|f| f.fault.as_str()),
            reason = failure.map(|f| f.message.as_str()),
            detail = failure.and_then(|f| f.detail.as_deref()),
            $($message)+
        )
    }};
}

pub(super) use record_line;
