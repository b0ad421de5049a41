//! Three candidates and a store, under any order of requests, answers, stops and restarts.
//!
//! Two of the candidates bear the same name: a machine, and the blank one that replaced it while
//! the first was only cut off. Their clocks drift apart by 2.8 %.

use anyhow::{Result, ensure};
use hamesh_claims::election::{Action, Candidate, Event, Leadership, Pace};
use hamesh_claims::ids::NodeName;
use hamesh_claims::{Election, Moment, Rules};
use proptest::collection::vec;
use proptest::prelude::{Just, Strategy, prop_oneof};

use super::ms;

/// How many candidates there are.
const CANDIDATES: usize = 3;
/// How fast their clocks run, in parts per thousand.
const RATES: [u64; CANDIDATES] = [1014, 1000, 986];
/// Their times.
const PACE: Pace = Pace {
    ttl: ms(1000),
    renew_every: ms(400),
    look_every: ms(150),
};

/// Something that happens.
#[derive(Clone, Debug)]
pub enum Input {
    /// Time passes, in milliseconds.
    Pass(u64),
    /// A candidate's program gets a turn.
    Turn(usize),
    /// The store carries out what a candidate asked.
    Serve(usize),
    /// The candidate hears the store's answer.
    Answer(usize),
    /// It stops waiting; what it asked may be carried out yet.
    GiveUp(usize),
    /// One of the requests that nobody waits for is carried out.
    Land(usize),
    /// Its program is restarted.
    Restart(usize),
    /// It stops in good order.
    Resign(usize),
}

/// Sequences of inputs: mostly the ordinary course of asking and answering.
pub fn cases() -> impl Strategy<Value = Vec<Input>> {
    let who = || 0..CANDIDATES;
    let input = prop_oneof![
        4 => prop_oneof![Just(20_u64), Just(150), Just(400), Just(700), 1..1200_u64]
            .prop_map(Input::Pass),
        6 => who().prop_map(Input::Turn),
        6 => who().prop_map(Input::Serve),
        6 => who().prop_map(Input::Answer),
        1 => who().prop_map(Input::GiveUp),
        1 => (0..4_usize).prop_map(Input::Land),
        1 => who().prop_map(Input::Restart),
        1 => who().prop_map(Input::Resign),
    ];
    vec(input, 1..80)
}

/// What was asked of the store, and what came of it.
#[derive(Debug)]
struct Asked {
    action: Action,
    answer: Option<Event>,
}

#[derive(Debug)]
struct Course {
    rules: Rules,
    now_ms: u64,
    elections: Vec<Election>,
    asked: Vec<Option<Asked>>,
    /// Requests that nobody waits for.
    late: Vec<Action>,
    record: Option<Leadership>,
    runs: u64,
    last_term: u64,
}

/// Whether at most one leads at any moment, and each under a higher term than all before.
///
/// # Errors
/// What was seen instead.
pub fn check(rules: Rules, inputs: &[Input]) -> Result<()> {
    let mut course = Course::new(rules);
    for input in inputs {
        course.happen(input)?;
        let leading =
            (0..CANDIDATES).filter(|who| course.elections[*who].leads(course.clock(*who)));
        let leading: Vec<usize> = leading.collect();
        ensure!(leading.len() < 2, "{leading:?} lead at one moment");
    }
    Ok(())
}

impl Course {
    fn new(rules: Rules) -> Self {
        let mut course = Self {
            rules,
            now_ms: 0,
            elections: Vec::new(),
            asked: Vec::new(),
            late: Vec::new(),
            record: None,
            runs: 0,
            last_term: 0,
        };
        for who in 0..CANDIDATES {
            let election = course.started(who);
            course.elections.push(election);
            course.asked.push(None);
        }
        course
    }

    fn started(&mut self, who: usize) -> Election {
        self.runs += 1;
        let me = Candidate {
            name: NodeName::new(["a", "b", "b"][who]),
            instance: who as u64,
            run: self.runs,
        };
        Election::with_rules(self.rules, me, PACE)
    }

    fn clock(&self, who: usize) -> Moment {
        let origin = 7_000_000_000 * (who as u64 + 1);
        Moment::from_nanos(origin + self.now_ms * RATES[who] * 1000)
    }

    fn happen(&mut self, input: &Input) -> Result<()> {
        match input {
            Input::Pass(span) => self.now_ms += span,
            Input::Turn(who) => self.tell(*who, Event::Tick)?,
            Input::Serve(who) => {
                let action = self.asked[*who].as_ref().filter(|it| it.answer.is_none());
                if let Some(action) = action.map(|it| it.action.clone()) {
                    let answer = self.serve(&action);
                    self.asked[*who] = Some(Asked {
                        action,
                        answer: Some(answer),
                    });
                }
            }
            Input::Answer(who) => {
                if let Some(answer) = self.asked[*who].as_ref().and_then(|it| it.answer.clone()) {
                    self.asked[*who] = None;
                    self.tell(*who, answer)?;
                }
            }
            Input::GiveUp(who) => {
                if self.asked[*who].is_some() {
                    self.abandon(*who);
                    self.tell(*who, Event::Unanswered)?;
                }
            }
            Input::Land(which) => {
                if *which < self.late.len() {
                    let action = self.late.remove(*which);
                    self.serve(&action);
                }
            }
            Input::Restart(who) => {
                self.abandon(*who);
                self.elections[*who] = self.started(*who);
            }
            Input::Resign(who) => self.tell(*who, Event::Resign)?,
        }
        Ok(())
    }

    fn abandon(&mut self, who: usize) {
        if let Some(asked) = self.asked[who].take()
            && asked.answer.is_none()
        {
            self.late.push(asked.action);
        }
    }

    fn tell(&mut self, who: usize, event: Event) -> Result<()> {
        let (now, mut out) = (self.clock(who), Vec::new());
        self.elections[who].handle(event, now, &mut out);
        for action in out {
            match &action {
                Action::Read | Action::Write { .. } => {
                    self.abandon(who);
                    self.asked[who] = Some(Asked {
                        action,
                        answer: None,
                    });
                }
                Action::Leads { term, .. } => {
                    ensure!(
                        *term > self.last_term,
                        "term {term} after {}",
                        self.last_term
                    );
                    self.last_term = *term;
                }
                Action::Extended(_) | Action::Deposed(_) => {}
            }
        }
        Ok(())
    }

    fn serve(&mut self, action: &Action) -> Event {
        match action {
            Action::Read => {
                let term = self.record.as_ref().map_or(0, |record| record.term);
                Event::Read(self.record.clone(), term)
            }
            Action::Write { over, next } if *over == self.record => {
                self.record = Some(next.clone());
                Event::Written
            }
            Action::Write { .. } => Event::Refused,
            Action::Leads { .. } | Action::Extended(_) | Action::Deposed(_) => Event::Unanswered,
        }
    }
}
