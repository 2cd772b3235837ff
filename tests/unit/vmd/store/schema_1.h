/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A database of schema version 1, as text, with a row in each table. Never
 * edited: what was released lies on disks.
 */
#ifndef TESTS_UNIT_VMD_STORE_SCHEMA_1_H
#define TESTS_UNIT_VMD_STORE_SCHEMA_1_H

static const char schema_1[] =
	"CREATE TABLE meta(key TEXT PRIMARY KEY, value TEXT NOT NULL);"
	"CREATE TABLE vm("
	" id TEXT PRIMARY KEY, name TEXT NOT NULL UNIQUE,"
	" image TEXT NOT NULL, image_id TEXT NOT NULL,"
	" state TEXT NOT NULL, reason TEXT NOT NULL,"
	" engine TEXT NOT NULL, engine_reason TEXT NOT NULL,"
	" emulated INTEGER NOT NULL, ephemeral INTEGER NOT NULL,"
	" command_started INTEGER NOT NULL,"
	" has_exit INTEGER NOT NULL, exit_status INTEGER NOT NULL,"
	" exit_signal INTEGER NOT NULL,"
	" memory_bytes INTEGER NOT NULL, disk_bytes INTEGER NOT NULL,"
	" created_ms INTEGER NOT NULL, started_ms INTEGER NOT NULL,"
	" ready_ms INTEGER NOT NULL, expires_ms INTEGER NOT NULL,"
	" agent_release TEXT NOT NULL, agent_version TEXT NOT NULL,"
	" error_kind TEXT, error_code TEXT, error_msg TEXT,"
	" revision INTEGER NOT NULL, spec TEXT NOT NULL);"
	"CREATE TABLE operation("
	" seq INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE,"
	" kind TEXT NOT NULL, state TEXT NOT NULL,"
	" resource_kind TEXT NOT NULL, resource_id TEXT NOT NULL,"
	" step TEXT NOT NULL, done INTEGER NOT NULL, total INTEGER NOT NULL,"
	" created_ms INTEGER NOT NULL, finished_ms INTEGER NOT NULL,"
	" error_kind TEXT, error_code TEXT, error_msg TEXT);"
	"CREATE TABLE journal("
	" seq INTEGER PRIMARY KEY, owner TEXT NOT NULL, kind INTEGER NOT NULL,"
	" name TEXT NOT NULL, pid INTEGER NOT NULL,"
	" start_time INTEGER NOT NULL, UNIQUE(owner, kind, name));"
	"CREATE TABLE answer("
	" seq INTEGER PRIMARY KEY AUTOINCREMENT, key TEXT NOT NULL UNIQUE,"
	" fingerprint TEXT NOT NULL, status INTEGER NOT NULL,"
	" location TEXT NOT NULL, body TEXT NOT NULL);"
	"INSERT INTO meta VALUES('boot_id','abc');"
	"INSERT INTO vm VALUES('aaaaaaaaaaaaaaaaaaaaaaaaaa','old','tiny','f00',"
	" 'failed','why','qemu','because',1,0,1,1,7,9,1048576,2097152,"
	" 11,12,13,14,'6.1','0.1','timeout','guest_not_ready','too late',5,"
	" '{\"vcpus\":1}');"
	"INSERT INTO operation(id,kind,state,resource_kind,resource_id,step,"
	" done,total,created_ms,finished_ms) VALUES("
	" 'bbbbbbbbbbbbbbbbbbbbbbbbbb','vm_create','succeeded','vm',"
	" 'aaaaaaaaaaaaaaaaaaaaaaaaaa','copying',1,2,3,4);"
	"INSERT INTO journal(owner,kind,name,pid,start_time) VALUES("
	" 'aaaaaaaaaaaaaaaaaaaaaaaaaa',3,'qemu',42,4711);"
	"INSERT INTO answer(key,fingerprint,status,location,body) VALUES("
	" 'k','f',202,'/v1/x','{}');"
	"PRAGMA user_version=1;";

#endif
