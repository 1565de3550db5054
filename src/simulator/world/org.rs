//! The organisation that the conversations happen in: the same for every day of a seed.

use super::dice::{Dice, Stream};
use super::model::Text;

/// A queue with what routing needs.
#[derive(Clone, Debug, Default)]
pub(crate) struct Queue {
    pub(crate) id: Text,
    pub(crate) name: Text,
    pub(crate) division: Text,
    pub(crate) skill: Text,
}

/// An agent.
#[derive(Clone, Debug, Default)]
pub(crate) struct User {
    pub(crate) id: Text,
    pub(crate) name: Text,
    pub(crate) team: Text,
}

/// Something with an id and a name: a flow, a form, a campaign.
#[derive(Clone, Debug, Default)]
pub(crate) struct Named {
    pub(crate) id: Text,
    pub(crate) name: Text,
}

/// Everything that conversations refer to by id.
#[derive(Clone, Debug, Default)]
pub(crate) struct Organisation {
    pub(crate) id: Text,
    pub(crate) name: Text,
    pub(crate) divisions: Vec<Text>,
    pub(crate) teams: Vec<Text>,
    pub(crate) queues: Vec<Queue>,
    pub(crate) users: Vec<User>,
    pub(crate) skills: Vec<Text>,
    pub(crate) languages: Vec<Text>,
    pub(crate) wrap_up_codes: Vec<Text>,
    pub(crate) flows: Vec<Named>,
    pub(crate) outcomes: Vec<Text>,
    pub(crate) evaluation_forms: Vec<Named>,
    pub(crate) survey_forms: Vec<Named>,
    pub(crate) campaigns: Vec<Named>,
    pub(crate) groups: Vec<Text>,
    pub(crate) edges: Vec<Text>,
    pub(crate) knowledge_bases: Vec<Text>,
}

const QUEUES: [&str; 12] = [
    "Billing",
    "Billing Español",
    "Technical Support",
    "Technical Support L2",
    "Sales",
    "Sales Outbound",
    "Claims",
    "Retention",
    "Concierge",
    "Back Office",
    "Complaints & Disputes",
    "Überweisungen",
];
const GIVEN: [&str; 12] =
    ["Ana", "Björn", "Chidi", "Dolores", "Émile", "Fatima", "Grace", "Hiro", "Ines", "João", "Kateryna", "Łukasz"];
const FAMILY: [&str; 10] =
    ["Abe", "Brandt", "Costa", "Dubois", "Eriksen", "Ferrari", "García", "Huang", "Ivanova", "Jansen"];
const FLOWS: [&str; 8] = [
    "Main Menu",
    "Main Menu ES",
    "Identification",
    "After Hours",
    "Web Messaging",
    "Virtual Agent",
    "Email Triage",
    "Post Call Survey",
];
const DIVISIONS: usize = 3;
const USERS: usize = 60;
const TEAMS: usize = 5;

impl Organisation {
    /// The organisation of `seed`.
    pub(crate) fn new(seed: u64) -> Organisation {
        let mut dice = Dice::new(seed, Stream::Organisation, 0, 0);
        let id = dice.uuid();
        let name = Text::Owned(format!("Simulated {}", dice.digits(4)));
        let divisions = uuids(&mut dice, DIVISIONS);
        let teams = uuids(&mut dice, TEAMS);
        let skills = uuids(&mut dice, 8);
        let queues = QUEUES
            .iter()
            .map(|name| Queue {
                id: dice.uuid(),
                name: Text::Borrowed(name),
                division: dice.pick(&divisions),
                skill: dice.pick(&skills),
            })
            .collect();
        let users = (0..USERS)
            .map(|_| User {
                id: dice.uuid(),
                name: Text::Owned(format!("{} {}", dice.pick(&GIVEN), dice.pick(&FAMILY))),
                team: dice.pick(&teams),
            })
            .collect();
        Organisation {
            id,
            name,
            divisions,
            teams,
            queues,
            users,
            skills,
            languages: uuids(&mut dice, 3),
            wrap_up_codes: uuids(&mut dice, 14),
            flows: named(&mut dice, &FLOWS),
            outcomes: uuids(&mut dice, 5),
            evaluation_forms: named(&mut dice, &["Call Quality", "Digital Quality"]),
            survey_forms: named(&mut dice, &["NPS", "Satisfaction after call"]),
            campaigns: named(&mut dice, &["Winback", "Renewals"]),
            groups: uuids(&mut dice, 3),
            edges: uuids(&mut dice, 4),
            knowledge_bases: uuids(&mut dice, 2),
        }
    }
}

fn uuids(dice: &mut Dice, count: usize) -> Vec<Text> {
    (0..count).map(|_| dice.uuid()).collect()
}

fn named(dice: &mut Dice, names: &[&'static str]) -> Vec<Named> {
    names.iter().map(|name| Named { id: dice.uuid(), name: Text::Borrowed(name) }).collect()
}
