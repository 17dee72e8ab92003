"""`lyo import`: tiny samples in the publishers' own columns, with the mess that their files have."""

from __future__ import annotations

import gzip
import json
import zipfile
from datetime import datetime
from pathlib import Path

import pytest

from lyo.evaluation.events.labels import read_labels
from lyo.evaluation.events.stream import read
from lyo.evaluation.formats import writing
from tests.support.importing import call, imported

ASSISTMENTS_2009 = (
    "order_id,assignment_id,user_id,assistment_id,problem_id,original,correct,attempt_count,ms_first_response,"
    "tutor_mode,answer_type,sequence_id,student_class_id,position,type,base_sequence_id,skill_id,skill_name,"
    "teacher_id,school_id,hint_count,hint_total,overlap_time,template_id,answer_id,answer_text,first_action,"
    "bottom_hint,opportunity,opportunity_original"
)
ASSISTMENTS_2012 = (
    "problem_log_id,skill,problem_id,user_id,assignment_id,assistment_id,start_time,end_time,problem_type,"
    "original,correct,bottom_hint,hint_count,actions,attempt_count,ms_first_response,tutor_mode,sequence_id,"
    "student_class_id,position,type,base_sequence_id,skill_id,teacher_id,school_id,overlap_time,template_id"
)
ASSISTMENTS_2017 = (
    "studentId,MiddleSchoolId,InferredGender,SY ASSISTments Usage,actionId,skill,problemId,assignmentId,"
    "assistmentId,startTime,endTime,timeTaken,correct,original,hint,hintCount,attemptCount"
)


def row(header: str, **values: object) -> str:
    return ",".join(str(values.get(name.replace(" ", "_"), "")) for name in header.split(","))


def test_assistments_2009_joins_the_rows_of_a_problem_and_survives_its_encodings(tmp_path: Path) -> None:
    path = tmp_path / "skill_builder_data.csv"
    problem = {"user_id": 64525, "problem_id": 51424, "original": 1, "correct": 1, "ms_first_response": 32454}
    rows = [
        row(ASSISTMENTS_2009, order_id=33022537, skill_id=1, skill_name='"Box and Whisker"', **problem),
        row(ASSISTMENTS_2009, order_id=33022537, skill_id="10.0", skill_name="Venn Diagram", **problem),
        row(ASSISTMENTS_2009, order_id=33022536, **{**problem, "correct": 0}),
        row(ASSISTMENTS_2009, order_id=33022540, **{**problem, "original": 0}),
        row(ASSISTMENTS_2009, order_id=33022541, **{**problem, "correct": ""}),
        row(
            ASSISTMENTS_2009, order_id=33022542, answer_text="caf\xe9", **{**problem, "ms_first_response": -7}
        ),
    ]
    lines = [line.encode("latin-1") for line in rows]
    lines[1] = rows[1].replace("Venn", "Venn \N{EM DASH}").encode()
    path.write_bytes(
        b"\xef\xbb\xbf" + ASSISTMENTS_2009.encode() + b"\r\n" + b"\r\n".join(lines) + b"\r\n\r\n"
    )
    result = call("assistments", path)
    assert result.exit_code == 1
    assert "skill_builder_data.csv: line 6: correct: missing" in result.stderr
    assert "has no times" in result.stderr
    found = [json.loads(line) for line in result.stdout.splitlines()]
    assert [each["score"] for each in found] == [0.0, 1.0, 1.0]  # by order_id
    assert [each["skills"] for each in found] == [[], ["1", "10"], []]
    assert found[1]["duration_seconds"] == pytest.approx(32.454)
    assert "duration_seconds" not in found[2]
    assert len({each["event_id"] for each in found}) == 3


def test_assistments_2012_has_times_and_may_be_zipped(tmp_path: Path) -> None:
    problem = {"user_id": 61394, "problem_id": 426415, "original": 1}
    rows = [
        row(
            ASSISTMENTS_2012,
            problem_log_id=137792159,
            skill="Division Fractions",
            skill_id="15.0",
            start_time="2012-09-28 15:11:27",
            end_time="2012-09-28 15:12:26.123",
            correct=0.5,
            ms_first_response=58949,
            **problem,
        ),
        row(ASSISTMENTS_2012, problem_log_id=137792160, start_time="yesterday", correct=1, **problem),
    ]
    path = tmp_path / "2012-2013-data.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("data/2012.csv", "\n".join([ASSISTMENTS_2012, *rows]))
        archive.writestr("data/.hidden", "")
    result = call("assistments", path)
    assert result.exit_code == 1
    assert "data/2012.csv: line 3: start_time: 'yesterday' is not a time" in result.stderr
    (found,) = map(json.loads, result.stdout.splitlines())
    assert (found["occurred_at"], found["score"]) == ("2012-09-28T15:12:26.123000Z", 0.5)
    assert (found["skills"], found["user_id"]) == (["15"], 61394)


def test_assistments_2015_and_2017(tmp_path: Path) -> None:
    old = tmp_path / "2015_100_skill_builders_main_problems.csv.gz"
    with gzip.open(old, "wt") as file:
        file.write("user_id,log_id,sequence_id,correct\n50121,167478035,7014,0\n50121.0,167478043,7014,1.0\n")
    found = imported("assistments", old)
    assert [(each["user_id"], each["skills"], each["score"]) for each in found] == [
        (50121, ["7014"], 0.0),
        (50121, ["7014"], 1.0),
    ]
    new = tmp_path / "anonymized_full_release_competition_dataset.csv"
    answer = {
        "studentId": 8,
        "problemId": 1151,
        "startTime": 1096470301,
        "endTime": 1096470350,
        "timeTaken": 49,
    }
    rows = [
        row(ASSISTMENTS_2017, actionId=9950, skill="properties-of-geometric-figures", correct=0, **answer),
        row(ASSISTMENTS_2017, actionId=9951, skill="sum-of-interior-angles", correct=0, original=0, **answer),
        row(
            ASSISTMENTS_2017, actionId=9952, skill="noskill", correct=1, **{**answer, "startTime": 1096470360}
        ),
    ]
    new.write_text("\n".join([ASSISTMENTS_2017, *rows]))
    found = imported("assistments", new)
    assert [each["skills"] for each in found] == [
        ["properties-of-geometric-figures", "sum-of-interior-angles"],
        [],
    ]
    assert found[0]["occurred_at"] == "2004-09-29T15:05:50Z"
    assert found[0]["duration_seconds"] == 49


def oulad(folder: Path) -> list[Path]:
    tables = {
        "studentRegistration": "code_module,code_presentation,id_student,date_registration,"
        "date_unregistration\n"
        '"AAA","2013J",11391,-159,\nAAA,2013J,30268,-92,12\nAAA,2014B,11391,?,?\n',
        "assessments": "code_module,code_presentation,id_assessment,assessment_type,date,weight\n"
        "AAA,2013J,1752,TMA,19,10\nAAA,2014B,1760,Exam,,100\n",
        "studentAssessment": "id_assessment,id_student,date_submitted,is_banked,score\n"
        "1752,11391,18,0,78\n1752,30268,22,0,\n1760,11391,200,0,?\n9999,11391,1,0,5\n1752,30268,soon,0,9\n",
        "studentVle": "code_module,code_presentation,id_student,id_site,date,sum_click\n"
        "AAA,2013J,11391,546652,-10,4\nAAA,2013J,11391,546614,-10,7\nAAA,2013J,11391,1,-9,100000\n",
        "studentInfo": "code_module,code_presentation,id_student,gender,region,final_result\n"
        "AAA,2013J,11391,M,Somewhere,Pass\nAAA,2013J,30268,F,Somewhere,Withdrawn\n",
    }
    for name, text in tables.items():
        (folder / f"{name}.csv").write_text(text)
    return [folder / f"{name}.csv" for name in tables]


def test_oulad_gives_completions_sessions_and_labels(tmp_path: Path) -> None:
    labels, target = tmp_path / "labels.csv", tmp_path / "events.jsonl.gz"
    result = call("oulad", *oulad(tmp_path), "--labels", labels, "-o", target)
    assert result.exit_code == 1
    assert [line for line in result.stderr.splitlines() if "line" in line][:2] == [
        "studentAssessment.csv: line 5: id_assessment: 9999 is not among the assessments",
        "studentAssessment.csv: line 6: date_submitted: 'soon' is not a number",
    ]
    with gzip.open(target, "rt") as file:
        found = [json.loads(line) for line in file]
    assert [(each["type"], each["user_id"]) for each in found] == [
        ("session", 1),
        ("session", 1),
        ("lesson_completion", 1),
        ("lesson_completion", 2),
        ("lesson_completion", 3),
    ]
    assert (found[0]["started_at"], found[0]["ended_at"]) == ("2013-09-21T12:00:00Z", "2013-09-21T12:05:30Z")
    assert found[1]["ended_at"] == "2013-09-22T16:00:00Z"
    assert (found[2]["occurred_at"], found[2]["score"]) == ("2013-10-19T12:00:00Z", 0.78)
    assert found[2]["skills"] == ["AAA:TMA"]
    assert "score" not in found[3]
    assert labels.read_text().splitlines() == [
        "user_id,course,registered_day,withdrawn_day,final_result",
        "1,AAA-2013J,-159,,Pass",
        "2,AAA-2013J,-92,12,Withdrawn",
        "3,AAA-2014B,,,",
    ]
    assert read_labels(labels, (1, 14), 28).dropped.tolist() == [False, False, True, False, False]
    assert len(read([target])) == 5


def test_kdd_cup_2015_gives_sessions_and_labels(tmp_path: Path) -> None:
    files = {
        "log_train.csv": "enrollment_id,time,source,event,object\n"
        "1,2014-06-14T09:38:29,server,navigate,Oj6e\n1,2014-06-14T09:58:29,browser,access,3T6X\n"
        "1,2014-06-14T19:49:48,server,access,qxvB\n3,2014-06-19T06:21:04,server,nagivate,x\n3,,server,access,y\n",
        "enrollment_train.csv": "enrollment_id,username,course_id\n1,9Uee,DPnL\n3,1qXC,7GRh\n",
        "truth_train.csv": "1,0\n3,1\n4,2\n",
        "date.csv": "course_id,from,to\nDPnL,2014-06-12,2014-07-11\n",
    }
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    labels = tmp_path / "labels.csv"
    result = call("kdd2015", *[tmp_path / name for name in files], "--labels", labels)
    assert result.exit_code == 1
    assert "log_train.csv: line 6: time: missing" in result.stderr
    assert "truth_train.csv: line 3: dropped: 2 is neither 1 nor 0" in result.stderr
    found = [json.loads(line) for line in result.stdout.splitlines()]
    assert [(each["user_id"], each["started_at"], each["ended_at"]) for each in found] == [
        (1, "2014-06-14T09:38:29Z", "2014-06-14T09:58:29Z"),
        (1, "2014-06-14T19:49:48Z", "2014-06-14T19:50:48Z"),
        (3, "2014-06-19T06:21:04Z", "2014-06-19T06:22:04Z"),
    ]
    assert labels.read_text().splitlines() == [
        "user_id,course,start,dropped",
        "1,DPnL,2014-06-12,0",
        "3,7GRh,2014-06-19,1",
    ]


def test_question_sequences(tmp_path: Path) -> None:
    path = tmp_path / "train_valid_sequences_quelevel.csv"
    path.write_text(
        "fold,uid,questions,concepts,responses,timestamps,selectmasks,is_repeat\n"
        '0,5,"11,12,-1","654_7,30,-1","1,0,-1","1559000000000,1559000060000,-1","1,1,-1","0,0,-1"\n'
        '0,5,"12,13","30,31","0,1","1559000060000,1559000090000","1,1","0,0"\n'
        '1,6,"21,21,22","1,2,3","1,1,0","1559000000000,1559000000000,1559000001000","1,1,1","0,1,0"\n'
        '1,7,"21,22","1","1,1","1559000000000,1559000000001","1,1","0,0"\n'
        '1,8,"21","1","2","1559000000000","1","0"\n'
    )
    result = call("xes3g5m", path)
    assert result.exit_code == 1
    assert "line 5: lists of 1, 2, 2 and 2 entries" in result.stderr
    assert "line 6: responses: '2' is neither 1 nor 0" in result.stderr
    found = [json.loads(line) for line in result.stdout.splitlines()]
    assert [(each["user_id"], each["content_id"], each["skills"], each["score"]) for each in found] == [
        (6, "q11", ["k654", "k7"], 1.0),
        (7, "q21", ["k1", "k2"], 1.0),
        (7, "q22", ["k3"], 0.0),
        (6, "q12", ["k30"], 0.0),
        (6, "q13", ["k31"], 1.0),
    ]


def test_what_does_not_fit_into_memory_comes_out_in_the_same_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "2015.csv"
    rows = [f"{1 + place % 7},{(place * 7919) % 1000},{place % 3},{place % 2}" for place in range(500)]
    path.write_text("\n".join(["user_id,log_id,sequence_id,correct", *rows]))
    whole = call("assistments", path).stdout
    monkeypatch.setattr(writing, "PIECE", 37)
    assert call("assistments", path).stdout == whole
    times = [datetime.fromisoformat(json.loads(line)["occurred_at"]) for line in whole.splitlines()]
    assert len(times) == 500
    assert times == sorted(times)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("assistments", "none of the ASSISTments releases"),
        ("oulad", "studentRegistration.csv is missing"),
        ("kdd2015", "no log_train.csv"),
        ("fsrs", "no column card_id"),
        ("xes3g5m", "no column uid"),
    ],
)
def test_a_table_of_something_else_is_a_failure_in_one_line(tmp_path: Path, name: str, said: str) -> None:
    path = tmp_path / "other.csv"
    path.write_text("a,b\n1,2\n")
    result = call(name, path)
    assert result.exit_code == 1
    assert said in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_an_event_that_the_product_would_refuse_is_a_bad_line(tmp_path: Path) -> None:
    path = tmp_path / "2015.csv"
    path.write_text("user_id,log_id,sequence_id,correct\n0,1,7,1\n5,2,7,1.5\n5,3,7,1\n5,4\n")
    result = call("assistments", path)
    assert result.exit_code == 1
    assert len(result.stdout.splitlines()) == 1
    reasons = [line.split(": ", 1)[1] for line in result.stderr.splitlines() if "line " in line]
    assert reasons[0].startswith("line 5: 2 columns instead of 4") or reasons[-1].startswith("line 5")
    assert any(reason.startswith("line 2: user_id") for reason in reasons)
    assert any(reason.startswith("line 3: score") for reason in reasons)
