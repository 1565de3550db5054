//! A session with its segments and metrics: nearly all of a conversation's bytes.

use super::dice::Dice;
use super::json::Json;
use super::words::{DISCONNECTS, NAMES, NOTES, Pools, SEGMENT_TYPES, metrics, some_of};

/// What a session is part of.
#[derive(Clone, Copy)]
pub(crate) struct Call<'a> {
    pub(crate) purpose: &'a str,
    pub(crate) media: &'a str,
    pub(crate) direction: &'a str,
    pub(crate) ani: &'a str,
    pub(crate) dnis: &'a str,
    pub(crate) start: i64,
}

/// Writes a session and returns when it ended.
pub(crate) fn write(json: &mut Json, segments: &mut Json, dice: &mut Dice, pools: &Pools, call: Call<'_>) -> i64 {
    segments.bytes.clear();
    let number = [3, 3, 3, 4, 4, 5, 6, 8][dice.between(0, 7) as usize];
    let mut now = call.start;
    for place in 0..number {
        now = segment(segments, dice, pools, call.purpose, now, (place == 0, place == number - 1));
    }
    json.open(b'{');
    session(json, dice, pools, call);
    emissions(json, dice, call.purpose, now);
    json.keyed_items("segments", &segments.bytes);
    json.close(b'}');
    now
}

fn session(json: &mut Json, dice: &mut Dice, pools: &Pools, call: Call<'_>) {
    let Call { purpose, media, direction, ani, dnis, start } = call;
    let message = media == "message";
    json.keyed("ani", ani);
    json.keyed("direction", direction);
    json.keyed("dnis", dnis);
    json.keyed("mediaType", media);
    if message {
        json.keyed("messageType", "whatsapp");
    }
    json.keyed("edgeId", dice.pick(&pools.edges));
    json.keyed_id("peerId", dice);
    json.keyed_id("protocolCallId", dice);
    json.keyed("provider", if message { "PureCloud Messaging" } else { "Edge" });
    json.keyed("remote", dice.pick(&NAMES));
    json.keyed("remoteNameDisplayable", dice.pick(&NAMES));
    json.keyed_bool("recording", dice.chance(70));
    json.keyed("sessionDnis", dnis);
    json.keyed_id("sessionId", dice);
    if media == "email" {
        json.keyed("addressFrom", "a.b@example.com");
        json.keyed("addressTo", "support@example.org");
        json.keyed_list("cc", ["x@example.com"]);
    }
    match purpose {
        "agent" => {
            json.keyed("scriptId", dice.pick(&pools.scripts));
            json.keyed("selectedAgentId", dice.pick(&pools.users));
            json.keyed_list("requestedRoutings", ["Standard"]);
            json.keyed("usedRouting", "Standard");
            json.keyed_number("routingRing", dice.between(1, 4));
        }
        "acd" => queue(json, dice, pools),
        "ivr" => flow(json, dice, pools, dnis),
        _ => {}
    }
    if media == "voice" && matches!(purpose, "customer" | "agent") && dice.chance(60) {
        media_endpoint(json, dice, start);
    }
}

fn queue(json: &mut Json, dice: &mut Dice, pools: &Pools) {
    json.keyed_list("activeSkillIds", some_of(&pools.skills, dice));
    json.key("eligibleAgentCounts");
    json.open(b'[');
    json.number(dice.between(0, 60) as i64);
    json.number(dice.between(0, 60) as i64);
    json.close(b']');
    json.key("proposedAgents");
    json.open(b'[');
    for rank in 1..=dice.between(0, 2) {
        json.open(b'{');
        json.keyed_number("agentRank", rank);
        json.keyed("proposedAgentId", dice.pick(&pools.users));
        json.close(b'}');
    }
    json.close(b']');
}

fn flow(json: &mut Json, dice: &mut Dice, pools: &Pools, dnis: &str) {
    let flow = dice.place(&pools.flows);
    json.key("flow");
    json.open(b'{');
    json.keyed("endingLanguage", "en-us");
    json.keyed("entryReason", dnis);
    json.keyed("entryType", "dnis");
    json.keyed("exitReason", "TRANSFER");
    json.keyed("flowId", &pools.flows[flow]);
    json.keyed("flowName", &format!("Main IVR {flow} - Día"));
    json.keyed("flowType", "INBOUNDCALL");
    json.keyed("flowVersion", &format!("{}.0", dice.between(1, 30)));
    json.keyed("startingLanguage", "en-us");
    json.keyed("transferTargetName", "Queue 7");
    json.keyed("transferType", "ACD");
    json.keyed_bool("issuedCallback", false);
    json.close(b'}');
}

fn media_endpoint(json: &mut Json, dice: &mut Dice, at: i64) {
    json.key("mediaEndpointStats");
    json.open(b'[');
    json.open(b'{');
    json.keyed_list("codecs", ["audio/opus"]);
    json.keyed_number("discardedPackets", dice.between(0, 40));
    json.keyed_number("maxLatencyMs", dice.between(5, 300));
    json.keyed_double("minMos", 3.0 + dice.fraction() * 1.88, 14);
    json.keyed_double("minRFactor", 70.0 + dice.fraction() * 22.0, 12);
    json.keyed_number("receivedPackets", dice.between(100, 90_000));
    json.keyed_time("eventTime", at);
    json.close(b'}');
    json.close(b']');
}

fn emissions(json: &mut Json, dice: &mut Dice, purpose: &str, end: i64) {
    let names = metrics(purpose);
    json.key("metrics");
    json.open(b'[');
    for _ in 0..[3, 3, 4, 5, 6, 8, 12][dice.between(0, 6) as usize] {
        json.open(b'{');
        json.keyed_time("emitDate", end - dice.between(0, 60_000) as i64);
        json.keyed("name", dice.pick(names));
        json.key("value");
        let value = if dice.chance(50) { 1 } else { dice.duration(60_000.0) };
        json.number(value);
        json.close(b'}');
    }
    json.close(b']');
}

/// Writes a segment and returns when it ended.
fn segment(
    json: &mut Json,
    dice: &mut Dice,
    pools: &Pools,
    purpose: &str,
    start: i64,
    (first, last): (bool, bool),
) -> i64 {
    let end = start + dice.duration(40_000.0) + 200;
    let agent = purpose == "agent";
    json.open(b'{');
    json.keyed_bool("conference", dice.chance(2));
    json.keyed_time("segmentStart", start);
    json.keyed_time("segmentEnd", end);
    json.keyed("segmentType", if last && agent { "wrapup" } else { dice.pick(&SEGMENT_TYPES) });
    if agent || purpose == "acd" {
        json.keyed("queueId", dice.pick(&pools.queues));
        if dice.chance(50) {
            json.keyed_list("requestedRoutingSkillIds", some_of(&pools.skills, dice));
        }
        if dice.chance(30) {
            json.keyed("requestedLanguageId", dice.pick(&pools.languages));
        }
    }
    if last {
        json.keyed("disconnectType", dice.pick(&DISCONNECTS));
        if agent {
            json.keyed("wrapUpCode", dice.pick(&pools.wrap_ups));
            if dice.chance(30) {
                json.keyed("wrapUpNote", dice.pick(&NOTES));
            }
            if dice.chance(10) {
                let tags = dice.between(1, 2) as usize;
                json.keyed_list("wrapUpTags", ["vip", "billing"].into_iter().take(tags));
            }
        }
        if dice.chance(30) {
            json.key("q850ResponseCodes");
            json.open(b'[');
            json.number(16);
            json.close(b']');
            json.key("sipResponseCodes");
            json.open(b'[');
            json.number([200, 480, 486][dice.between(0, 2) as usize]);
            json.close(b']');
        }
    }
    if first && dice.chance(20) {
        json.keyed("errorCode", "error.ininedgecontrol.connection.media.endpoint.idle");
    }
    if dice.chance(5) {
        json.key("properties");
        json.open(b'[');
        json.open(b'{');
        json.keyed("propertyType", "string");
        json.keyed("property", "source");
        json.keyed("value", "api");
        json.close(b'}');
        json.close(b']');
    }
    json.close(b'}');
    end
}
