/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "coordinator/store/sql.h"

#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>

int sql_error(sqlite3 *db, struct err *e, const char *what)
{
    int code = sqlite3_errcode(db);
    enum err_code kind = ERR_SYSTEM;
    if (code == SQLITE_BUSY)
        kind = ERR_UNAVAILABLE;
    else if (code == SQLITE_NOTADB || code == SQLITE_CORRUPT)
        kind = ERR_INPUT;
    return err_set(e, kind, "%s: %s", what, sqlite3_errmsg(db));
}

int sql_run(sqlite3 *db, const char *sql, struct err *e)
{
    if (sqlite3_exec(db, sql, NULL, NULL, NULL) != SQLITE_OK)
        return sql_error(db, e, "cannot write to the store");
    return 0;
}

static int bind_message(sqlite3_stmt *s, int at, const ProtobufCMessage *message)
{
    size_t length = protobuf_c_message_get_packed_size(message);
    uint8_t *packed = malloc(length + 1);
    if (!packed)
        return SQLITE_NOMEM;
    protobuf_c_message_pack(message, packed);
    return sqlite3_bind_blob64(s, at, packed, length, free);
}

static int bind_next(sqlite3_stmt *s, int at, char letter, va_list *args)
{
    switch (letter) {
    case 'i':
        return sqlite3_bind_int64(s, at, va_arg(*args, int64_t));
    case 'u':
        return sqlite3_bind_int64(s, at, (int64_t)va_arg(*args, uint64_t));
    case 'd':
        return sqlite3_bind_double(s, at, va_arg(*args, double));
    case 't':
        return sqlite3_bind_text(s, at, va_arg(*args, const char *), -1, SQLITE_STATIC);
    case 'm':
        return bind_message(s, at, va_arg(*args, const ProtobufCMessage *));
    case 'b': {
        const void *bytes = va_arg(*args, const void *);
        return sqlite3_bind_blob64(s, at, bytes, va_arg(*args, size_t), SQLITE_STATIC);
    }
    default:
        abort();
    }
}

int sql_bind(sqlite3_stmt *s, struct err *e, const char *letters, ...)
{
    va_list args;
    va_start(args, letters);
    int code = SQLITE_OK;
    for (int i = 0; letters[i] && code == SQLITE_OK; i++)
        code = bind_next(s, i + 1, letters[i], &args);
    va_end(args);
    if (code != SQLITE_OK)
        return err_set(e, ERR_SYSTEM, "cannot hand a value to the store: %s", sqlite3_errstr(code));
    return 0;
}

int sql_finish(sqlite3_stmt *s, struct err *e)
{
    int code = sqlite3_step(s);
    int failed =
        code == SQLITE_DONE ? 0 : sql_error(sqlite3_db_handle(s), e, "cannot write to the store");
    sqlite3_reset(s);
    sqlite3_clear_bindings(s);
    return failed;
}

const char *sql_text(sqlite3_stmt *s, int column)
{
    const unsigned char *text = sqlite3_column_text(s, column);
    return text ? (const char *)text : "";
}

uint64_t sql_unsigned(sqlite3_stmt *s, int column)
{
    return (uint64_t)sqlite3_column_int64(s, column);
}

ProtobufCMessage *sql_message(sqlite3_stmt *s, int column, const ProtobufCMessageDescriptor *type)
{
    const void *packed = sqlite3_column_blob(s, column);
    int length = sqlite3_column_bytes(s, column);
    return protobuf_c_message_unpack(type, NULL, (size_t)length, packed);
}
