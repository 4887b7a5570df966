-- How large a value may be, and how many tasks a map may have: one row, which is read only where something is large.

create table pgflow.payload_limits (
  only_row boolean not null default true,
  max_payload int not null default 134217728,    -- bytes of jsonb, up to six times those of the text
  max_elements int not null default 1000000,
  constraint payload_limits_pkey primary key (only_row),
  constraint payload_limits_has_one_row check (only_row),
  constraint max_payload_is_sensible check (max_payload between 1048576 and 267386880),   -- jsonb itself ends at 255 MiB
  constraint max_elements_is_sensible check (max_elements >= 10000)
);
insert into pgflow.payload_limits default values;
