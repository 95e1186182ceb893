//! A stand-in for the models of real agents, on loopback: it asks for one shell command after another, and
//! then says that it is done. Anthropic's Messages and OpenAI's Responses, as far as the agents use them.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

/// One that answers until the test ends.
pub(crate) struct Model {
    pub(crate) port: u16,
    answers: Arc<Mutex<Vec<String>>>,
}

impl Model {
    /// Starts it; `steps` are the commands.
    pub(crate) fn start(steps: &'static [&'static str]) -> Model {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let answers = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&answers);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let answers = Arc::clone(&kept);
                std::thread::spawn(move || {
                    // The agent hangs up when it likes.
                    let _ = serve(stream, steps, &answers);
                });
            }
        });
        Model { port, answers }
    }

    /// What each command came to, as the agent told its model.
    pub(crate) fn answers(&self) -> Vec<String> {
        self.answers.lock().unwrap().clone()
    }
}

fn serve(stream: TcpStream, steps: &[&str], answers: &Mutex<Vec<String>>) -> std::io::Result<()> {
    let mut from = BufReader::new(stream.try_clone()?);
    let mut to = stream;
    loop {
        let mut head = Vec::new();
        loop {
            let mut line = String::new();
            if from.read_line(&mut line)? == 0 {
                return Ok(());
            }
            if line.trim_end().is_empty() {
                break;
            }
            head.push(line.trim_end().to_ascii_lowercase());
        }
        let length = head.iter().find_map(|line| line.strip_prefix("content-length:")?.trim().parse().ok());
        let mut body = vec![0; length.unwrap_or(0)];
        from.read_exact(&mut body)?;
        let request: Value = serde_json::from_slice(&body).unwrap_or_default();
        let path = head[0].split(' ').nth(1).unwrap_or_default();
        let events = match path.split('?').next() {
            Some("/v1/messages") if request["stream"] == true => messages(&request, steps, answers),
            Some("/v1/responses") => responses(&request, steps, answers),
            _ => {
                let body = json!({"data": [], "models": [], "input_tokens": 1}).to_string();
                write!(
                    to,
                    "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
                    body.len()
                )?;
                continue;
            }
        };
        let body: String = events
            .iter()
            .map(|event| format!("event: {}\ndata: {event}\n\n", event["type"].as_str().unwrap()))
            .collect();
        write!(
            to,
            "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        )?;
    }
}

/// Keeps what came of the last step. How many there were.
fn keep(results: &[String], answers: &Mutex<Vec<String>>) -> usize {
    let mut answers = answers.lock().unwrap();
    if results.len() > answers.len() {
        *answers = results.to_vec();
    }
    results.len()
}

fn messages(request: &Value, steps: &[&str], answers: &Mutex<Vec<String>>) -> Vec<Value> {
    let contents =
        request["messages"].as_array().unwrap().iter().filter_map(|message| message["content"].as_array());
    let results: Vec<String> = contents
        .flatten()
        .filter(|part| part["type"] == "tool_result")
        .map(|part| part["content"].to_string())
        .collect();
    // Titles and the like are asked for without tools.
    let tools = request["tools"].as_array().is_some_and(|tools| !tools.is_empty());
    let done = keep(&results, answers);
    let (block, delta, stop) = match steps.get(done).filter(|_| tools) {
        Some(step) => (
            json!({"type": "tool_use", "id": format!("toolu_{done}"), "name": "Bash", "input": {}}),
            json!({"type": "input_json_delta",
                   "partial_json": json!({"command": step, "description": "a step"}).to_string()}),
            "tool_use",
        ),
        None => (
            json!({"type": "text", "text": ""}),
            json!({"type": "text_delta", "text": "all done"}),
            "end_turn",
        ),
    };
    let usage = json!({"input_tokens": 1, "output_tokens": 1});
    vec![
        json!({"type": "message_start", "message": {
            "id": "msg", "type": "message", "role": "assistant", "model": request["model"], "content": [],
            "stop_reason": null, "stop_sequence": null, "usage": usage}}),
        json!({"type": "content_block_start", "index": 0, "content_block": block}),
        json!({"type": "content_block_delta", "index": 0, "delta": delta}),
        json!({"type": "content_block_stop", "index": 0}),
        json!({"type": "message_delta", "delta": {"stop_reason": stop, "stop_sequence": null}, "usage": usage}),
        json!({"type": "message_stop"}),
    ]
}

fn responses(request: &Value, steps: &[&str], answers: &Mutex<Vec<String>>) -> Vec<Value> {
    let input = request["input"].as_array().unwrap();
    let results: Vec<String> = input
        .iter()
        .filter(|item| item["type"] == "function_call_output")
        .map(|item| item["output"].to_string())
        .collect();
    let done = keep(&results, answers);
    let item = match steps.get(done) {
        Some(step) => json!({
            "type": "function_call", "id": format!("fc_{done}"), "call_id": format!("call_{done}"),
            "name": "exec_command", "arguments": json!({"cmd": step}).to_string(), "status": "completed"}),
        None => json!({
            "type": "message", "id": "msg", "role": "assistant", "status": "completed",
            "content": [{"type": "output_text", "text": "all done", "annotations": []}]}),
    };
    let usage = json!({
        "input_tokens": 1, "input_tokens_details": {"cached_tokens": 0}, "output_tokens": 1,
        "output_tokens_details": {"reasoning_tokens": 0}, "total_tokens": 2});
    vec![
        json!({"type": "response.created", "response": {"id": "resp", "status": "in_progress"}}),
        json!({"type": "response.output_item.added", "output_index": 0, "item": item}),
        json!({"type": "response.output_item.done", "output_index": 0, "item": item}),
        json!({"type": "response.completed", "response": {
            "id": "resp", "status": "completed", "output": [item], "usage": usage}}),
    ]
}
