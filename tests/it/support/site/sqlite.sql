CREATE TABLE auth_user (id integer NOT NULL PRIMARY KEY AUTOINCREMENT, password varchar(128) NOT NULL,
    last_login datetime NULL, is_superuser bool NOT NULL, username varchar(150) NOT NULL UNIQUE,
    last_name varchar(150) NOT NULL, email varchar(254) NOT NULL, is_staff bool NOT NULL,
    is_active bool NOT NULL, date_joined datetime NOT NULL, first_name varchar(150) NOT NULL);
CREATE TABLE knox_authtoken (digest varchar(128) NOT NULL PRIMARY KEY, created datetime NOT NULL,
    user_id integer NOT NULL REFERENCES auth_user (id) DEFERRABLE INITIALLY DEFERRED,
    expiry datetime NULL, token_key varchar(25) NOT NULL);
CREATE INDEX knox_authtoken_user_id ON knox_authtoken (user_id);
CREATE INDEX knox_authtoken_token_key ON knox_authtoken (token_key);
-- smarter
CREATE TABLE account_account (id integer NOT NULL PRIMARY KEY AUTOINCREMENT, created_at datetime NOT NULL,
    updated_at datetime NOT NULL, account_number varchar(255) NULL UNIQUE, company_name varchar(255) NULL);
CREATE TABLE account_userprofile (id integer NOT NULL PRIMARY KEY AUTOINCREMENT, created_at datetime NOT NULL,
    updated_at datetime NOT NULL,
    user_id integer NOT NULL REFERENCES auth_user (id) DEFERRABLE INITIALLY DEFERRED,
    account_id bigint NOT NULL REFERENCES account_account (id) DEFERRABLE INITIALLY DEFERRED,
    CONSTRAINT unique_user_account UNIQUE (user_id, account_id));
CREATE TABLE drf_smarterauthtoken (
    authtoken_ptr_id varchar(128) NOT NULL PRIMARY KEY
        REFERENCES knox_authtoken (digest) DEFERRABLE INITIALLY DEFERRED,
    created_at datetime NOT NULL, updated_at datetime NOT NULL, name varchar(255) NOT NULL,
    description text NULL, version varchar(255) NULL,
    annotations text NULL CHECK ((JSON_VALID(annotations) OR annotations IS NULL)),
    user_profile_id bigint NOT NULL REFERENCES account_userprofile (id) DEFERRABLE INITIALLY DEFERRED,
    key_id char(32) NOT NULL UNIQUE, last_used_at datetime NULL, is_active bool NOT NULL,
    tags text NOT NULL CHECK ((JSON_VALID(tags) OR tags IS NULL)));
CREATE INDEX drf_smarterauthtoken_created_at ON drf_smarterauthtoken (created_at);
CREATE INDEX drf_smarterauthtoken_user_profile_id ON drf_smarterauthtoken (user_profile_id);
CREATE TABLE llm_client_llmclientapikey (id integer NOT NULL PRIMARY KEY AUTOINCREMENT,
    created_at datetime NOT NULL, updated_at datetime NOT NULL,
    api_key_id varchar(128) NOT NULL
        REFERENCES drf_smarterauthtoken (authtoken_ptr_id) DEFERRABLE INITIALLY DEFERRED);
