//! The script of a seed: the requests to each replica, and the faults.

use std::time::Duration;

use tara_export_client::proto::{Destination, Fallback};
use tara_export_test_support::{Fault, FaultRule, Operation};

/// A pseudorandom generator: SplitMix64 (Steele, Lea and Flood, 2014).
pub(crate) struct Rng(u64);

impl Rng {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut number = self.0;
        number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        number ^ (number >> 31)
    }

    /// A number below `end`.
    fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }

    fn percent(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }

    fn one_of<T: Clone>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len())].clone()
    }

    fn milliseconds(&mut self, most: usize) -> Duration {
        Duration::from_millis(self.below(most + 1) as u64)
    }
}

/// The content of one request, identified by its label.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Content {
    pub(crate) id: u32,
    pub(crate) document_name: &'static str,
    pub(crate) text: usize,
    pub(crate) destination: Destination,
    pub(crate) fallback: Fallback,
}

impl Content {
    /// The review's session id, so that every record of the export contains it.
    pub(crate) fn label(&self) -> String {
        let Self { id, document_name, text, destination, fallback } = self;
        let (destination, fallback) = (destination.as_str_name(), fallback.as_str_name());
        format!("<{id} {document_name} {text} {destination} {fallback}>")
    }
}

#[derive(Debug, Clone)]
pub(crate) enum Step {
    Send {
        replica: usize,
        content: Content,
    },
    /// Starts a fault, which lasts until its rule is used up or [`Step::Repair`].
    Fail(FaultRule),
    Latency(Duration),
    /// Sets how far S3's clock is ahead.
    SkewMinutes(i64),
    Repair,
    /// Stops a server without waiting for its exports, and starts the next one.
    Restart(usize),
    /// Waits while everything continues.
    Wait(Duration),
}

#[derive(Debug)]
pub(crate) struct Script {
    pub(crate) replicas: usize,
    /// Whether journal entries are in S3 too, so that every replica takes over exports of the others.
    pub(crate) keeps_journal_in_store: bool,
    pub(crate) steps: Vec<Step>,
    /// Whether the servers are restarted after the final repair.
    pub(crate) restarts_at_end: bool,
}

impl Script {
    pub(crate) fn of(seed: u64) -> Self {
        let mut rng = Rng::new(seed);
        let replicas = 1 + rng.below(2);
        let keeps_journal_in_store = rng.percent(30);
        let length = 8 + rng.below(16);
        let mut steps: Vec<Step> = (0..length).map(|_| step(&mut rng, replicas)).collect();
        // Every script has at least one export.
        steps.insert(rng.below(length), send(&mut rng, replicas));
        steps.push(Step::Wait(rng.milliseconds(500)));
        Self { replicas, keeps_journal_in_store, steps, restarts_at_end: rng.percent(60) }
    }
}

fn step(rng: &mut Rng, replicas: usize) -> Step {
    match rng.below(100) {
        0..30 => send(rng, replicas),
        30..55 => Step::Fail(rule(rng)),
        55..59 => Step::Latency(rng.milliseconds(40)),
        59..62 => Step::SkewMinutes(rng.one_of(&[-20, 0, 20])),
        62..67 => Step::Repair,
        67..75 => Step::Restart(rng.below(replicas)),
        _ => Step::Wait(rng.milliseconds(120)),
    }
}

fn send(rng: &mut Rng, replicas: usize) -> Step {
    let content = Content {
        id: 1 + rng.below(3) as u32,
        document_name: rng.one_of(&["a.docx", "a.docx", "ä b.docx"]),
        text: rng.below(5) / 4,
        destination: if rng.percent(85) { Destination::S3 } else { Destination::Local },
        fallback: if rng.percent(75) { Fallback::Local } else { Fallback::None },
    };
    Step::Send { replica: rng.below(replicas), content }
}

fn rule(rng: &mut Rng) -> FaultRule {
    let fault = match rng.below(13) {
        0 => Fault::INTERNAL_ERROR,
        1 => Fault::SERVICE_UNAVAILABLE,
        2 => Fault::SLOW_DOWN,
        3 => Fault::ResetBefore,
        4 | 5 => Fault::ResetAfter,
        6 => Fault::TruncateResponse,
        7 => Fault::Stall,
        8 => Fault::ACCESS_DENIED,
        9 => Fault::CONDITIONAL_REQUEST_CONFLICT,
        10 => Fault::OkWithError { code: "InternalError" },
        11 => Fault::EXPIRED_TOKEN,
        _ => Fault::Delay(rng.milliseconds(800)),
    };
    let mut rule = FaultRule::new(fault);
    if rng.percent(50) {
        let operations = [Operation::PutObject, Operation::GetObject, Operation::HeadObject];
        rule = rule.on(rng.one_of(&operations));
    }
    if rng.percent(50) {
        let keys = ["/exports/", "/folders/", "/index/", "/documents/", "manifest.json", "report"];
        rule = rule.key_contains(rng.one_of(&keys));
    }
    if rng.percent(30) {
        rule = rule.after(rng.below(20));
    }
    if rng.percent(80) {
        rule = rule.times(1 + rng.below(25));
    }
    rule
}
