//! The shape of a record in the log.

/// A line of the log: who it is about, what is told of it, and what was wrong.
macro_rules! record_line {
    (
        ($level:expr, $event:expr, $who:expr, $failure:expr),
        { $($told:tt)* },
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
            $($told)*
            fault = failure.map(|f| f.fault.as_str()),
            reason = failure.map(|f| f.message.as_str()),
            detail = failure.and_then(|f| f.detail.as_deref()),
            $($message)+
        )
    }};
}

pub(super) use record_line;
