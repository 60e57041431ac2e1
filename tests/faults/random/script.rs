//! What a number makes of a test: who sends what to which replica, and what fails meanwhile.

use std::time::Duration;

use tara_export::proto::{Destination, Fallback};
use tara_export_test_support::{Fault, FaultRule, Operation};

/// Numbers that depend on a seed alone: SplitMix64 (Steele, Lea and Flood, 2014).
pub(crate) struct Dice(u64);

impl Dice {
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

/// One request, told from every other content by its label.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Content {
    pub(crate) id: u32,
    pub(crate) document_name: &'static str,
    pub(crate) text: usize,
    pub(crate) destination: Destination,
    pub(crate) fallback: Fallback,
}

impl Content {
    /// Travels as the review's session, so that every record of the export has it.
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
    /// From now on these requests fail, until they are used up or everything is repaired.
    Fail(FaultRule),
    Latency(Duration),
    /// S3's clock is that far ahead of ours.
    SkewMinutes(i64),
    Repair,
    /// The process ends without waiting for its exports, and another starts.
    Restart(usize),
    /// Lets whatever goes on go on.
    Pass(Duration),
}

#[derive(Debug)]
pub(crate) struct Script {
    pub(crate) replicas: usize,
    /// Accepted exports are kept in S3 too, and every replica finishes the others'.
    pub(crate) keeps_journal_in_store: bool,
    pub(crate) steps: Vec<Step>,
    /// Whether the processes are started anew once everything works again.
    pub(crate) restarts_at_last: bool,
}

impl Script {
    pub(crate) fn of(seed: u64) -> Self {
        let mut dice = Dice::new(seed);
        let replicas = 1 + dice.below(2);
        let keeps_journal_in_store = dice.percent(30);
        let length = 8 + dice.below(16);
        let mut steps: Vec<Step> = (0..length).map(|_| step(&mut dice, replicas)).collect();
        // A script without an export shows nothing.
        steps.insert(dice.below(length), send(&mut dice, replicas));
        steps.push(Step::Pass(dice.milliseconds(500)));
        Self { replicas, keeps_journal_in_store, steps, restarts_at_last: dice.percent(60) }
    }
}

fn step(dice: &mut Dice, replicas: usize) -> Step {
    match dice.below(100) {
        0..30 => send(dice, replicas),
        30..55 => Step::Fail(rule(dice)),
        55..59 => Step::Latency(dice.milliseconds(40)),
        59..62 => Step::SkewMinutes(dice.one_of(&[-20, 0, 20])),
        62..67 => Step::Repair,
        67..75 => Step::Restart(dice.below(replicas)),
        _ => Step::Pass(dice.milliseconds(120)),
    }
}

fn send(dice: &mut Dice, replicas: usize) -> Step {
    let content = Content {
        id: 1 + dice.below(3) as u32,
        document_name: dice.one_of(&["a.docx", "a.docx", "ä b.docx"]),
        text: dice.below(5) / 4,
        destination: if dice.percent(85) { Destination::S3 } else { Destination::Local },
        fallback: if dice.percent(75) { Fallback::Local } else { Fallback::None },
    };
    Step::Send { replica: dice.below(replicas), content }
}

fn rule(dice: &mut Dice) -> FaultRule {
    let fault = match dice.below(13) {
        0 => Fault::INTERNAL_ERROR,
        1 => Fault::SERVICE_UNAVAILABLE,
        2 => Fault::SLOW_DOWN,
        3 => Fault::ResetBefore,
        4 | 5 => Fault::ResetAfter,
        6 => Fault::TruncateAnswer,
        7 => Fault::Stall,
        8 => Fault::ACCESS_DENIED,
        9 => Fault::CONDITIONAL_REQUEST_CONFLICT,
        10 => Fault::OkWithError { code: "InternalError" },
        11 => Fault::EXPIRED_TOKEN,
        _ => Fault::Delay(dice.milliseconds(800)),
    };
    let mut rule = FaultRule::new(fault);
    if dice.percent(50) {
        let operations = [Operation::PutObject, Operation::GetObject, Operation::HeadObject];
        rule = rule.on(dice.one_of(&operations));
    }
    if dice.percent(50) {
        let keys = ["/exports/", "/folders/", "/index/", "/documents/", "manifest.json", "report"];
        rule = rule.key_contains(dice.one_of(&keys));
    }
    if dice.percent(30) {
        rule = rule.after(dice.below(20));
    }
    if dice.percent(80) {
        rule = rule.times(1 + dice.below(25));
    }
    rule
}
