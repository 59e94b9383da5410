//! Where a run stands in a distributed trace (W3C Trace Context, level 1): its caller's, or one of its own.
//!
//! The ids of our spans follow from the run's, so that whoever needs one, in whichever process, has it without asking.

use std::fmt::Write;

use ring::digest;

use super::{id::RunId, run::Run};

/// The trace that a run belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TraceContext {
    /// The trace.
    pub trace_id: [u8; 16],
    /// The caller's span; none if the trace begins with the run.
    pub caller: Option<[u8; 8]>,
    /// Whether it is recorded; the caller decides.
    pub is_sampled: bool,
}

/// What a span of ours stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// The run, from its acceptance to its end.
    Run,
    /// An attempt of it, from 1.
    Attempt(u32),
    /// An attempt of its delivery, from 1.
    Delivery(u32),
}

impl TraceContext {
    /// That of a run: what its caller sent if it is one, else a trace of its own, whose id is the run's.
    pub fn of(run: &Run) -> Self {
        let sent = run.facts.traceparent.as_deref().and_then(Self::parse);
        sent.unwrap_or(Self {
            trace_id: *run.id.as_bytes(),
            caller: None,
            is_sampled: true,
        })
    }

    /// Reads a `traceparent` (§3.2 there). Of later versions, what comes behind the four known fields is left alone.
    fn parse(text: &str) -> Option<Self> {
        let mut fields = text.splitn(4, '-');
        let [version] = bytes(fields.next()?)?;
        let (trace_id, caller) = (bytes(fields.next()?)?, bytes(fields.next()?)?);
        let rest = fields.next()?;
        let (flags, more) = rest.split_at_checked(2)?;
        let [flags] = bytes(flags)?;
        let follows = more.is_empty() || (version > 0 && more.starts_with('-'));
        let is_one = version != 0xff && trace_id != [0; 16] && caller != [0; 8] && follows;
        is_one.then_some(Self {
            trace_id,
            caller: Some(caller),
            is_sampled: flags & 1 == 1,
        })
    }

    /// The `traceparent` that makes what is sent with it a child of this span.
    pub fn header(&self, span: [u8; 8]) -> String {
        let flags = u8::from(self.is_sampled);
        format!("00-{}-{}-{flags:02x}", hex(&self.trace_id), hex(&span))
    }
}

/// The id of a span of ours.
pub fn span_id(run: RunId, part: Part) -> [u8; 8] {
    let (kind, number) = match part {
        Part::Run => (0, 0),
        Part::Attempt(number) => (1, number),
        Part::Delivery(number) => (2, number),
    };
    let mut context = digest::Context::new(&digest::SHA256);
    context.update(run.as_bytes());
    context.update(&[kind]);
    context.update(&number.to_be_bytes());
    let mut id = [0; 8];
    id.copy_from_slice(&context.finish().as_ref()[..8]);
    // All zeros is no id.
    id[7] |= 1;
    id
}

/// Lower-case hexadecimal digits, and nothing else: so the recommendation has it.
fn bytes<const N: usize>(text: &str) -> Option<[u8; N]> {
    let text = text.as_bytes();
    if text.len() != 2 * N {
        return None;
    }
    let mut bytes = [0; N];
    for (byte, digits) in bytes.iter_mut().zip(text.chunks_exact(2)) {
        *byte = digit(digits[0])? << 4 | digit(digits[1])?;
    }
    Some(bytes)
}

fn digit(byte: u8) -> Option<u8> {
    match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        // A string takes everything.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    #[test]
    fn what_a_caller_sent_is_read_and_handed_on_with_our_span() {
        let context = TraceContext::parse(SENT).unwrap();
        assert!(context.is_sampled);
        assert_eq!(context.header(context.caller.unwrap()), SENT);
        let later = format!("cc{}-what", &SENT[2..]);
        assert_eq!(TraceContext::parse(&later), Some(context));
        let unsampled = SENT.replace("-01", "-00");
        assert!(!TraceContext::parse(&unsampled).unwrap().is_sampled);
    }

    #[test]
    fn what_is_no_traceparent_begins_no_trace_of_its_callers() {
        for text in [
            "",
            "00",
            "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
            "00-0AF7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-more",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-1",
            "00-0af7651916cd43dd8448eb211c80319-b7ad6b7169203331-01",
        ] {
            assert_eq!(TraceContext::parse(text), None, "{text}");
        }
    }

    #[test]
    fn each_part_of_a_run_has_a_span_of_its_own() {
        let run = RunId::from_parts(1, 1);
        let parts = [
            Part::Run,
            Part::Attempt(1),
            Part::Attempt(2),
            Part::Delivery(1),
        ];
        let ids = parts.map(|part| span_id(run, part));
        assert_eq!(ids, parts.map(|part| span_id(run, part)));
        let distinct: std::collections::HashSet<_> = ids.into_iter().collect();
        assert_eq!(distinct.len(), parts.len());
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text: String) {
            let _ = TraceContext::parse(&text);
        }
    }
}
