/* The smallest program that does btmsg's transactions: the yardstick of the bench for btmsg.
 *
 *   minimal DB heartbeat AGENT
 *   minimal DB send FROM TO ID TEXT
 *
 * Same schema, same rows, same durability, a log that is emptied at the same size; no arguments to parse, no configuration, no checks of who may write
 * to whom, and where the audit row has its hash it has 32 zero bytes. Linked with the SQLite of btmsg. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include "sqlite3.h"

static sqlite3 *db;

static void check(int rc) {
    if (rc != SQLITE_OK && rc != SQLITE_DONE && rc != SQLITE_ROW) {
        fprintf(stderr, "minimal: %s\n", sqlite3_errmsg(db));
        exit(74);
    }
}

/* Runs a statement with text parameters; the last integer of its last row. */
static sqlite3_int64 run(const char *sql, int n, const char **values) {
    sqlite3_stmt *statement;
    sqlite3_int64 result = 0;
    int rc, i;
    check(sqlite3_prepare_v2(db, sql, -1, &statement, NULL));
    for (i = 0; i < n; i++) check(sqlite3_bind_text(statement, i + 1, values[i], -1, SQLITE_STATIC));
    while ((rc = sqlite3_step(statement)) == SQLITE_ROW) result = sqlite3_column_int64(statement, 0);
    check(rc);
    check(sqlite3_finalize(statement));
    return result;
}

int main(int argc, char **argv) {
    struct timespec now;
    struct stat log;
    char ms[32], seconds[32];
    int heartbeat;
    if (argc < 4) return 2;
    heartbeat = strcmp(argv[2], "heartbeat") == 0;
    check(sqlite3_open_v2(argv[1], &db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, NULL));
    check(sqlite3_busy_timeout(db, 5000));
    check(sqlite3_db_config(db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL));
    run("PRAGMA journal_mode", 0, NULL);
    run(heartbeat ? "PRAGMA synchronous = NORMAL" : "PRAGMA synchronous = FULL", 0, NULL);
    clock_gettime(CLOCK_REALTIME, &now);
    snprintf(ms, sizeof ms, "%lld", (long long)now.tv_sec * 1000 + now.tv_nsec / 1000000);
    snprintf(seconds, sizeof seconds, "%lld", (long long)now.tv_sec);
    run("BEGIN IMMEDIATE", 0, NULL);
    if (heartbeat) {
        const char *values[] = {argv[3], seconds, ms};
        run("SELECT count(*) FROM agents WHERE id = ?1", 1, values);
        run("INSERT INTO heartbeats (agent_id, timestamp, at_ms) VALUES (?1, CAST(?2 AS INTEGER), CAST(?3 AS INTEGER))"
            " ON CONFLICT (agent_id) DO UPDATE SET timestamp = excluded.timestamp, at_ms = excluded.at_ms", 3, values);
        run("SELECT EXISTS (SELECT 1 FROM dead_letter_queue WHERE to_agent = ?1 AND redriven_ms IS NULL"
            " AND purged_ms IS NULL)", 1, values);
    } else {
        const char *values[] = {argv[3], argv[4], argv[5], argv[6], ms};
        run("SELECT count(*) FROM agents WHERE id IN (?1, ?2)", 2, values);
        run("SELECT count(*) FROM heartbeats WHERE agent_id = ?1", 1, values + 1);
        run("INSERT INTO audit_log (agent_id, event_type, detail, created_at, at_ms, hash)"
            " VALUES (?1, 'send', '{\"ids\":[\"' || ?3 || '\"],\"to\":[\"' || ?2 || '\"],\"bytes\":20,\"channel\":null,\"dead\":0}',"
            " datetime('now'), CAST(?5 AS INTEGER), zeroblob(32))", 5, values);
        run("INSERT INTO messages (id, from_agent, to_agent, content, group_id, sender_group_id, created_at, seq, sent_ms,"
            " priority, indexed) VALUES (?3, ?1, ?2, ?4, '', '', datetime('now'), last_insert_rowid(), CAST(?5 AS INTEGER),"
            " 0, 1)", 5, values);
        run("INSERT INTO messages_fts (rowid, subject, content) SELECT max(seq), '', ?4 FROM messages", 4, values);
    }
    run("COMMIT", 0, NULL);
    if (stat(sqlite3_filename_wal(sqlite3_db_filename(db, "main")), &log) == 0 && log.st_size >= 1 << 20)
        run("PRAGMA wal_checkpoint(TRUNCATE)", 0, NULL);
    check(sqlite3_close(db));
    if (!heartbeat) puts(argv[5]);
    return 0;
}
