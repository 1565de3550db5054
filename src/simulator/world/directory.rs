//! The organisation's lists: what the ids of conversations are called. Users leave at a moment of their own; what
//! they handled, and what they go on handling in the stories of this world, refers to them all the same.

use serde_json::{Value, json};

use super::birth::DAY;
use super::dice::{Dice, Stream};
use super::model::{Millis, Text};
use super::{BEGINNING, World};

const DIVISIONS: [&str; 3] = ["Home", "Service", "Commerce"];
const TEAMS: [&str; 5] = ["Team Nord", "Equipo Sur", "Équipe Est", "Team West", "Drużyna Centrum"];
const SKILLS: [&str; 8] =
    ["Invoices", "Networks", "Devices", "Contracts", "Fraud", "Onboarding", "Logistics", "Disputes"];
const WRAP_UP_CODES: [&str; 14] = [
    "Resolved",
    "Follow-up needed",
    "Callback promised",
    "Escalated",
    "Wrong number",
    "Sale",
    "No sale",
    "Refund",
    "Complaint",
    "Address changed",
    "Password reset",
    "Contract ended",
    "Duplicate",
    "Spam",
];
const DEPARTMENTS: [&str; 3] = ["Service", "Sales", "Back Office"];
/// What each flow is for, in the order of the flows.
const FLOW_TYPES: [&str; 8] = [
    "INBOUNDCALL",
    "INBOUNDCALL",
    "COMMONMODULE",
    "INBOUNDCALL",
    "INBOUNDSHORTMESSAGE",
    "DIGITALBOT",
    "INBOUNDEMAIL",
    "VOICESURVEY",
];
/// How long a user who has left is inactive before being deleted.
const INACTIVE: i64 = 90 * DAY;
/// The days within which users leave, from the world's first one.
const LEAVING: i64 = 6 * 365;

impl World {
    /// `GET /api/v2/routing/queues`.
    pub(crate) fn queues(&self) -> Vec<Value> {
        let entities = self.org.queues.iter().enumerate().map(|(index, queue)| {
            let mut dice = self.dice(1, index);
            let (created, modified) = dates(&mut dice);
            let members = dice.between(4, 40);
            json!({
                "id": queue.id,
                "name": queue.name,
                "division": self.division(&queue.division),
                "description": format!("{} of {}", queue.name, self.org.name),
                "dateCreated": created,
                "dateModified": modified,
                "modifiedBy": dice.pick(&self.org.users).id,
                "createdBy": dice.pick(&self.org.users).id,
                "memberCount": members,
                "userMemberCount": members,
                "joinedMemberCount": dice.between(0, members),
                "mediaSettings": {"call": {"enableAutoAnswer": false, "alertingTimeoutSeconds": 30}},
                "scoringMethod": "TimestampAndPriority",
                "skillEvaluationMethod": "BEST",
                "queueFlow": {"id": dice.pick(&self.org.flows).id},
                "enableTranscription": dice.chance(0.5),
                "selfUri": uri("routing/queues", &queue.id),
            })
        });
        entities.collect()
    }

    /// `GET /api/v2/users` with a state, or `any`.
    pub(crate) fn users(&self, state: &str, as_of: Millis) -> Vec<Value> {
        let entities = self.org.users.iter().enumerate().map(|(index, user)| {
            let mut dice = self.dice(2, index);
            let left = dice.chance(0.2).then(|| BEGINNING.plus(dice.between(0, LEAVING * DAY)));
            let (state, version) = match left {
                Some(left) if left.plus(INACTIVE) <= as_of => ("deleted", 3),
                Some(left) if left <= as_of => ("inactive", 2),
                _ => ("active", 1),
            };
            let email = format!("agent{index}@simulated.example");
            let manager = dice.pick(&self.org.users).id;
            json!({
                "id": user.id,
                "name": user.name,
                "division": self.division(&dice.pick(&self.org.divisions)),
                "chat": {"jabberId": format!("{}@simulated.example", dice.digits(24))},
                "department": dice.word(&DEPARTMENTS),
                "email": email,
                "primaryContactInfo": [{"address": email, "mediaType": "EMAIL", "type": "PRIMARY"}],
                "addresses": [],
                "state": state,
                "title": "Agent",
                "username": email,
                "manager": {"id": manager, "selfUri": uri("users", &manager)},
                "version": version,
                "acdAutoAnswer": dice.chance(0.3),
                "selfUri": uri("users", &user.id),
            })
        });
        entities.filter(|user| state == "any" || user["state"] == state).collect()
    }

    /// `GET /api/v2/routing/wrapupcodes`.
    pub(crate) fn wrap_up_codes(&self) -> Vec<Value> {
        let entities = self.org.wrap_up_codes.iter().zip(WRAP_UP_CODES).enumerate().map(|(index, (id, name))| {
            let mut dice = self.dice(3, index);
            let (created, modified) = dates(&mut dice);
            json!({
                "id": id,
                "name": name,
                "division": self.division(&dice.pick(&self.org.divisions)),
                "dateCreated": created,
                "dateModified": modified,
                "createdBy": dice.pick(&self.org.users).id,
                "selfUri": uri("routing/wrapupcodes", id),
            })
        });
        entities.collect()
    }

    /// `GET /api/v2/routing/skills`.
    pub(crate) fn skills(&self) -> Vec<Value> {
        let entities = self.org.skills.iter().zip(SKILLS).enumerate().map(|(index, (id, name))| {
            let (_, modified) = dates(&mut self.dice(4, index));
            let (version, address) = ((index + 1).to_string(), uri("routing/skills", id));
            json!({"id": id, "name": name, "dateModified": modified, "state": "active", "version": version, "selfUri": address})
        });
        entities.collect()
    }

    /// `GET /api/v2/authorization/divisions`.
    pub(crate) fn divisions(&self) -> Vec<Value> {
        let entities = self.org.divisions.iter().zip(DIVISIONS).enumerate().map(|(index, (id, name))| {
            let address = uri("authorization/divisions", id);
            json!({"id": id, "name": name, "description": "", "homeDivision": index == 0, "objectCounts": {}, "selfUri": address})
        });
        entities.collect()
    }

    /// `GET /api/v2/flows`; the last flow was deleted, and is listed only when deleted ones are asked for.
    pub(crate) fn flows(&self, deleted: bool) -> Vec<Value> {
        let last = self.org.flows.len().saturating_sub(1);
        let entities = self.org.flows.iter().zip(FLOW_TYPES).enumerate().map(|(index, (flow, kind))| {
            let mut dice = self.dice(5, index);
            let (_, published) = dates(&mut dice);
            json!({
                "id": flow.id,
                "name": flow.name,
                "division": self.division(&dice.pick(&self.org.divisions)),
                "type": kind,
                "active": index != last,
                "system": false,
                "deleted": index == last,
                "publishedVersion": {
                    "id": format!("{}.0", dice.between(1, 30)),
                    "name": "production",
                    "datePublished": published,
                    "selfUri": uri("flows", &flow.id),
                },
                "publishedBy": {"id": dice.pick(&self.org.users).id},
                "virtualAgentEnabled": kind == "DIGITALBOT",
                "selfUri": uri("flows", &flow.id),
            })
        });
        entities.filter(|flow| deleted || flow["deleted"] == false).collect()
    }

    /// `GET /api/v2/teams`; the divisions' names only when they are asked for.
    pub(crate) fn teams(&self, expanded: bool) -> Vec<Value> {
        let entities = self.org.teams.iter().zip(TEAMS).enumerate().map(|(index, (id, name))| {
            let mut dice = self.dice(6, index);
            let (created, modified) = dates(&mut dice);
            let division = dice.pick(&self.org.divisions);
            json!({
                "id": id,
                "name": name,
                "division": if expanded { self.division(&division) } else { json!({"id": division}) },
                "dateCreated": created,
                "dateModified": modified,
                "memberCount": self.org.users.iter().filter(|user| user.team == *id).count(),
                "selfUri": uri("teams", id),
            })
        });
        entities.collect()
    }

    fn division(&self, id: &Text) -> Value {
        let name = self.org.divisions.iter().zip(DIVISIONS).find(|(known, _)| *known == id).map(|(_, name)| name);
        json!({"id": id, "name": name, "selfUri": uri("authorization/divisions", id)})
    }

    fn dice(&self, list: i64, index: usize) -> Dice {
        Dice::new(self.settings.seed, Stream::Directory, list, index as u64)
    }
}

fn uri(list: &str, id: &str) -> String {
    format!("/api/v2/{list}/{id}")
}

/// When something was made, before the world began, and when it was last changed.
fn dates(dice: &mut Dice) -> (Millis, Millis) {
    let created = BEGINNING.plus(-dice.between(DAY, 900 * DAY));
    (created, created.plus(dice.between(0, DAY)))
}
